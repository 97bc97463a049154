#include "comm/split/value_exchange.h"

#include "comm/split/device_bytes.h"

namespace ballast {
namespace {

constexpr int kValueTag = 2;

}  // namespace

ValueExchange::ValueExchange(const SplitParts& parts, const std::vector<Block>& blocks) : parts_(parts) {
  const Topology& topology = parts_.topology;
  if (topology.nodes() == 1) return;
  for (const Slice& slice : parts_.partition.slices) {
    if (slice.block_count == 0) continue;
    if (slice.owner == topology.rank()) {
      plan_sends(slice, runs_of(slice, blocks));
    } else if (topology.node_of(slice.owner) != topology.my_node() &&
               topology.contact(topology.my_node(), slice.owner, slice.bucket) == topology.rank()) {
      for (const DeviceSpan& run : runs_of(slice, blocks)) incoming_.push_back({slice.owner, run});
    }
  }
}

std::vector<DeviceSpan> ValueExchange::runs_of(const Slice& slice, const std::vector<Block>& blocks) const {
  std::vector<DeviceSpan> spans;
  for (const PublishedRun& run : published_runs(slice, blocks)) {
    const DeviceSpan all = run.dtype == DType::kBF16 ? parts_.memory.compute_values() : parts_.memory.values();
    spans.push_back(all.subspan(run.begin, run.end - run.begin));
  }
  return spans;
}

void ValueExchange::plan_sends(const Slice& slice, const std::vector<DeviceSpan>& runs) {
  const Topology& topology = parts_.topology;
  for (int i = 1; i < topology.nodes(); ++i) {  // owners start with different nodes
    const int node = (topology.my_node() + i) % topology.nodes();
    const int to = topology.contact(node, slice.owner, slice.bucket);
    for (const DeviceSpan& run : runs) outgoing_.push_back({to, run});
  }
}

void ValueExchange::run() {
  std::vector<std::unique_ptr<Request>> requests;
  requests.reserve(incoming_.size() + outgoing_.size());
  for (const Message& message : incoming_) {
    requests.push_back(parts_.world.receive(bytes_of(message.values), message.partner, kValueTag));
  }
  for (const Message& message : outgoing_) {
    requests.push_back(parts_.world.send(bytes_of(ConstDeviceSpan(message.values)), message.partner, kValueTag));
  }
  for (const auto& request : requests) request->wait();
}

}  // namespace ballast
