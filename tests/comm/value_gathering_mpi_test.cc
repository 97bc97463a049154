// What a node keeps of the values and what it moves, with Sharding::kValues.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "comm/split/value_gathering.h"
#include "tests/comm/training_steps.h"
#include "tests/support/mpi_world.h"
#include "tests/support/reference_backend.h"
#include "tests/support/simulated_nodes.h"

namespace ballast {
namespace {

constexpr std::int64_t kPage = 4096;
constexpr std::int64_t kBlockElements = 8192;  // whole pages in both types
constexpr std::int64_t kBlocksOfBucket = 16;
constexpr std::int64_t kBuckets = 48;
constexpr std::int64_t kBucketElements = kBlocksOfBucket * kBlockElements;
constexpr std::int64_t kElements = kBuckets * kBucketElements;

std::vector<Block> blocks_of_type(DType publish) {
  std::vector<Block> blocks;
  for (std::int64_t begin = 0; begin < kElements; begin += kBlockElements) {
    blocks.push_back({begin, begin + kBlockElements, publish});
  }
  return blocks;
}

std::int64_t resident_bytes(ConstDeviceSpan span) {
  if (span.empty()) return 0;
  std::vector<unsigned char> pages(static_cast<std::size_t>((span.bytes() + kPage - 1) / kPage));
  EXPECT_EQ(mincore(const_cast<void*>(span.data), static_cast<std::size_t>(span.bytes()), pages.data()), 0);
  return kPage * std::ranges::count_if(pages, [](unsigned char page) { return (page & 1U) != 0; });
}

/// Of a number that both types hold.
float value_of(std::int64_t element, int step) { return static_cast<float>(element / kBlockElements % 64 + 1 + step); }

float number_at(ConstDeviceSpan span, std::int64_t element) {
  if (span.dtype == DType::kF32) return static_cast<const float*>(span.data)[element];
  return std::bit_cast<float>(std::uint32_t{static_cast<const std::uint16_t*>(span.data)[element]} << 16);
}

/// Passes and steps of a model whose every operation reads one bucket. The workers of a node run it side by side.
class Job {
 public:
  Job(DType publish, int workers_per_node)
      : nodes_(mpi_world(), workers_per_node, sent_),
        node_(nodes_.split_by_node()),
        publish_(publish),
        split_(make_split_allreduce(
            nodes_, backend_, kElements, blocks_of_type(publish), publish == DType::kBF16,
            {.shards = nodes_.size(), .bucket_bytes = kBucketElements * 4, .sharding = Sharding::kValues})) {
    set_my_values();
    split_->publish();
  }

  [[nodiscard]] int nodes() const { return nodes_.size() / node_->size(); }

  void pass() {
    for (std::int64_t op = 0; op < kBuckets; ++op) read(op, op + 1);
    for (std::int64_t op = kBuckets; op-- > 0;) read(op, op - 1);
    split_->use_values({}, {});
    node_->barrier();
  }

  void step() {
    split_->begin_step();
    const DeviceSpan gradients = split_->gradients(nodes_.rank());
    pass();
    backend_.zero(gradients);
    split_->gradients_ready(0);
    split_->shard_done(nodes_.rank());
    split_->reduce();
    ++step_;
    set_my_values();
    split_->publish();
  }

  /// Most that the node has had of its values while it read one, and how much of it was its own.
  [[nodiscard]] std::int64_t most_resident() const { return most_; }
  [[nodiscard]] std::int64_t own_bytes() {
    std::int64_t bytes = 0;
    for (const Slice& slice : split_->my_slices()) {
      bytes += (slice.end - slice.begin) * (4 + (publish_ == DType::kBF16 ? 2 : 0));
    }
    node_->all_reduce(std::span(&bytes, 1), Reduction::kSum);
    return bytes;
  }
  /// By all workers since the last call.
  [[nodiscard]] std::int64_t take_sent() {
    nodes_.barrier();
    std::int64_t bytes = sent_.exchange(0);
    nodes_.all_reduce(std::span(&bytes, 1), Reduction::kSum);
    return bytes;
  }

 private:
  [[nodiscard]] DeviceSpan published() const {
    return publish_ == DType::kBF16 ? split_->compute_values() : split_->values();
  }

  void set_my_values() {
    for (const Slice& slice : split_->my_slices()) {
      std::vector<float> numbers;
      for (std::int64_t e = slice.begin; e < slice.end; ++e) numbers.push_back(value_of(e, step_));
      const std::int64_t size = slice.end - slice.begin;
      backend_.upload(std::as_bytes(std::span(numbers)), split_->values().subspan(slice.begin, size));
      if (publish_ == DType::kBF16) {
        backend_.convert(split_->values().subspan(slice.begin, size),
                         split_->compute_values().subspan(slice.begin, size));
      }
    }
  }

  void read(std::int64_t op, std::int64_t next) {
    const ElementRange now{op * kBucketElements, (op + 1) * kBucketElements};
    const ElementRange soon{next * kBucketElements, (next + 1) * kBucketElements};
    const bool more = 0 <= next && next < kBuckets;
    split_->use_values(std::span(&now, 1), std::span(&soon, more ? 1 : 0));
    for (std::int64_t e = now.begin; e < now.end; e += 1000) EXPECT_EQ(number_at(published(), e), value_of(e, step_));
    node_->barrier();
    most_ = std::max(most_, resident_bytes(split_->values()) + resident_bytes(split_->compute_values()));
    node_->barrier();
  }

  std::atomic<std::int64_t> sent_ = 0;
  ReferenceBackend backend_;
  SimulatedNodes nodes_;
  std::unique_ptr<Communicator> node_;
  DType publish_;
  std::unique_ptr<SplitAllReduce> split_;
  int step_ = 0;
  std::int64_t most_ = 0;
};

constexpr auto kWindowBuckets = static_cast<std::int64_t>(ValueGathering::kIdleBuckets) + 2;

template <typename Body>
void for_all_jobs(const Body& body) {
  for (const DType publish : {DType::kF32, DType::kBF16}) {
    for (const int per_node : {1, 2}) {
      if (mpi_world().size() % per_node != 0 || mpi_world().size() == per_node) continue;
      SCOPED_TRACE(std::to_string(per_node) + " per node, " + (publish == DType::kF32 ? "f32" : "bf16"));
      Job job(publish, per_node);
      body(job, kBucketElements * size_of(publish));
    }
  }
}

TEST(ValueGathering, KeepsItsOwnPartAndAWindow) {
  for_all_jobs([](Job& job, std::int64_t bucket_bytes) {
    const std::int64_t foreign = bucket_bytes * (job.nodes() - 1) / job.nodes() + kBlockElements * 4;
    job.pass();
    for (int step = 0; step < 2; ++step) job.step();
    EXPECT_LE(job.most_resident(), job.own_bytes() + kWindowBuckets * foreign + kPage);
    EXPECT_GE(job.most_resident(), job.own_bytes() + foreign / 2) << "what is read is there";
  });
}

TEST(ValueGathering, MovesTheOthersValuesTwiceForEachPass) {
  for_all_jobs([](Job& job, std::int64_t bucket_bytes) {
    static_cast<void>(job.take_sent());
    job.pass();
    job.pass();
    const std::int64_t foreign = (job.nodes() - 1) * bucket_bytes;  // of a bucket, all nodes together
    const std::int64_t notes = 2 * 2 * kBuckets * mpi_world().size() * job.nodes() * 16;
    const std::int64_t sent = job.take_sent();
    EXPECT_LE(sent, 2 * 2 * kBuckets * foreign + notes);
    // What the end of a pass leaves here serves the beginning of the next, and forward's end backward's beginning.
    EXPECT_GE(sent, (2 * 2 * kBuckets - 3 * (kWindowBuckets + 1)) * foreign);
  });
}

TEST(ValueGathering, GivesTheBitsOfTheTreeWhereNodesShareMemory) {
  std::atomic<std::int64_t> sent = 0;
  for (const int per_node : {1, 2, 3}) {
    SimulatedNodes nodes(mpi_world(), per_node, sent);
    for (const bool bf16 : {false, true}) {
      for (const std::int64_t bucket_bytes : {1, 1500, 1 << 30}) {
        const StepsOptions options{.split = {.shards = 4, .bucket_bytes = bucket_bytes, .sharding = Sharding::kValues},
                                   .bf16 = bf16};
        EXPECT_TRUE(training_steps(nodes, options) == expected_steps(options))
            << per_node << " per node, bf16 " << bf16 << ", bucket " << bucket_bytes;
      }
    }
  }
}

}  // namespace
}  // namespace ballast
