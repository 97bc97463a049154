#include "runtime/bucket_choice.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <span>

#include "comm/bucket_size.h"
#include "comm/link_probe.h"

namespace ballast {
namespace {

constexpr double kMebibyte = 1 << 20;

/// What rank 0 tells the others.
struct Decision {
  std::int64_t nodes = 1, bytes = 0;
  LinkCost link;
};

std::string text_of(const Decision& decision) {
  std::array<char, 200> text{};
  const auto decimals = [](double number) { return number < 10.0 ? 2 : number < 100.0 ? 1 : 0; };
  const double way = 1e6 * decision.link.latency, rate = 1e-6 * decision.link.bytes_per_second;
  const double piece = 1e6 * decision.link.piece_seconds;
  std::snprintf(text.data(), text.size(),
                "%d nodes: latency %.*f us, %.*f MB/s each way, %.*f us a piece: buckets of %g MiB (comm.bucket_mib)",
                static_cast<int>(decision.nodes), decimals(way), way, decimals(rate), rate, decimals(piece), piece,
                static_cast<double>(decision.bytes) / kMebibyte);
  return text.data();
}

}  // namespace

std::int64_t bucket_bytes(const CommSection& comm, std::int64_t elements, std::int64_t nodes, std::int64_t workers,
                          const LinkCost& link) {
  if (comm.bucket_mib > 0.0) return static_cast<std::int64_t>(comm.bucket_mib * kMebibyte);
  if (nodes == 1) return SplitAllReduceOptions{}.bucket_bytes;
  const std::int64_t coordinators = comm.coordinators > 0 ? std::min(comm.coordinators, workers) : workers;
  return auto_bucket_bytes(elements * size_of(DType::kF32), coordinators, link);
}

BucketChoice choose_buckets(const CommSection& comm, std::int64_t elements, const Backend& backend,
                            Communicator& world) {
  const bool given = comm.bucket_mib > 0.0;
  if (given || !backend.host_addressable() || world.size() == 1) {
    return {.bytes = bucket_bytes(comm, elements, 1, world.size(), {}), .note = ""};
  }
  Decision decision;
  // Workers that share no memory are each a node of its own.
  if (const auto nodes = comm.share_memory ? first_of_each_node(world) : world.split(0)) {
    decision.nodes = nodes->size();
    if (nodes->size() > 1) decision.link = LinkProbe(*nodes).measure();
    decision.bytes = bucket_bytes(comm, elements, decision.nodes, world.size(), decision.link);
  }
  world.broadcast(std::as_writable_bytes(std::span(&decision, 1)), 0);
  return {.bytes = decision.bytes, .note = decision.nodes > 1 ? text_of(decision) : ""};
}

}  // namespace ballast
