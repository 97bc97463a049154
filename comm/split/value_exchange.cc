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
  const auto block_at = [&](int number) -> const Block& { return blocks[static_cast<std::size_t>(number)]; };
  std::vector<DeviceSpan> runs;
  const int end = slice.first_block + slice.block_count;
  for (int first = slice.first_block; first < end;) {
    const Block& block = block_at(first);
    int last = first;
    while (last + 1 < end && block_at(last + 1).publish == block.publish) ++last;
    const DeviceSpan all = block.publish == DType::kBF16 ? parts_.memory.compute_values() : parts_.memory.values();
    runs.push_back(all.subspan(block.begin, block_at(last).end - block.begin));
    first = last + 1;
  }
  return runs;
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
