#include "comm/split/value_exchange.h"

#include <algorithm>

#include "comm/split/device_bytes.h"

namespace ballast {

ValueExchange::ValueExchange(const SplitParts& parts, const std::vector<Block>& blocks, const Channel& channel)
    : parts_(parts), channel_(channel), begins_(static_cast<std::size_t>(parts.node.size())) {
  if (parts_.topology.nodes() == 1) return;
  std::vector<Slice> slices = parts_.partition.slices;
  std::sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) { return a.begin < b.begin; });
  for (const Slice& slice : slices) {
    if (slice.block_count > 0) plan_slice(slice, blocks);
  }
  here_.resize(incoming_.size());
}

void ValueExchange::plan_slice(const Slice& slice, const std::vector<Block>& blocks) {
  const Topology& topology = parts_.topology;
  const std::vector<PublishedRun> runs = published_runs(slice, blocks);
  if (slice.owner == topology.rank()) {
    for (int i = 1; i < topology.nodes(); ++i) {  // owners start with different nodes
      const int node = (topology.my_node() + i) % topology.nodes();
      const int to = topology.contact(node, slice.owner, slice.bucket);
      for (const PublishedRun& run : runs) outgoing_.push_back({to, run});
    }
  } else if (topology.node_of(slice.owner) != topology.my_node()) {
    const int contact = topology.contact(topology.my_node(), slice.owner, slice.bucket);
    const std::vector<int>& neighbours = topology.members(topology.my_node());
    const auto neighbour = std::lower_bound(neighbours.begin(), neighbours.end(), contact) - neighbours.begin();
    for (const PublishedRun& run : runs) {
      begins_[static_cast<std::size_t>(neighbour)].push_back(run.begin);
      if (contact == topology.rank()) incoming_.push_back({slice.owner, run});
    }
  }
}

DeviceSpan ValueExchange::span_of(const PublishedRun& run) const {
  const DeviceSpan all = run.dtype == DType::kBF16 ? parts_.memory.compute_values() : parts_.memory.values();
  return all.subspan(run.begin, run.end - run.begin);
}

void ValueExchange::expect() {
  parts_.transfers.wait_until([this] { return here_count_ == here_.size() || started_ == 0; });
  expecting_ = true;
  here_.assign(incoming_.size(), false);
  here_count_ = 0;
  for (std::size_t i = 0; i < incoming_.size(); ++i) {
    parts_.transfers.receive(bytes_of(span_of(incoming_[i].run)), incoming_[i].partner, channel_.tag,
                             [this, i] { arrived(i); });
  }
}

void ValueExchange::arrived(std::size_t message) {
  here_[message] = true;
  const std::size_t before = here_count_;
  while (here_count_ < here_.size() && here_[here_count_]) ++here_count_;
  (parts_.memory.*channel_.arrived)(parts_.node.rank())
      .fetch_add(static_cast<std::int64_t>(here_count_ - before), std::memory_order_release);
}

void ValueExchange::start() {
  if (!expecting_) expect();
  expecting_ = false;
  ++started_;
  waited_for_ = 0;
  for (const Message& message : outgoing_) {
    parts_.transfers.send(bytes_of(ConstDeviceSpan(span_of(message.run))), message.partner, channel_.tag);
  }
}

void ValueExchange::use(std::span<const ElementRange> now, std::span<const ElementRange> /*next*/) {
  std::int64_t end = 0;
  for (const ElementRange& range : now) end = std::max(end, range.end);
  wait_for(end);
}

void ValueExchange::wait_for(std::int64_t end) {
  if (end <= waited_for_) return;
  for (int neighbour = 0; neighbour < parts_.node.size(); ++neighbour) {
    const std::vector<std::int64_t>& begins = begins_[static_cast<std::size_t>(neighbour)];
    const auto needed = std::lower_bound(begins.begin(), begins.end(), end) - begins.begin();
    const std::int64_t target = (started_ - 1) * static_cast<std::int64_t>(begins.size()) + needed;
    const auto count = (parts_.memory.*channel_.arrived)(neighbour);
    const auto here = [&] { return count.load(std::memory_order_acquire) >= target; };
    if (neighbour == parts_.node.rank()) parts_.transfers.wait_until(here);
    parts_.transfers.poll_until(here);  // it receives in another process
  }
  waited_for_ = end;
}

}  // namespace ballast
