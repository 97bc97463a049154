#include "comm/device/ordered_exchange.h"

#include <algorithm>
#include <utility>

namespace ballast {
OrderedExchange::OrderedExchange(DeviceParts parts, const GradientCoding& coding)
    : parts_(std::move(parts)),
      messages_(parts_.backend, parts_.plan, parts_.blocks, coding,
                [gradients = parts_.gradients](const LocalSum& sum) {
                  return ConstDeviceSpan(gradients[static_cast<std::size_t>(sum.buffer)]);
                }) {
  if (messages_.bytes() == 0) return;
  memory_ = Buffer(parts_.backend, messages_.bytes() / size_of(DType::kI32), DType::kI32);
  messages_.place(memory_.span().data);
}

void OrderedExchange::send_bucket(int bucket) {
  const std::vector<OutgoingSum>& sums = parts_.plan.outgoing[static_cast<std::size_t>(bucket)];
  std::vector<ConstDeviceSpan> spans;
  for (std::size_t i = 0; i < sums.size(); ++i) spans.push_back(messages_.outgoing(bucket, i));
  parts_.exchange.after_compute();
  parts_.exchange.begin_group();
  for (std::size_t i = 0; i < sums.size(); ++i) parts_.exchange.send(spans[i], sums[i].slice.owner);
  receive_bucket(bucket);
  parts_.exchange.end_group();
}

void OrderedExchange::receive_bucket(int bucket) {
  const std::vector<Slice>& mine = parts_.plan.my_slices;
  const auto slice = std::ranges::find(mine, bucket, &Slice::bucket);  // one per bucket and owner at most
  if (slice == mine.end()) return;
  for (std::size_t i = 0; i < parts_.plan.addends.size(); ++i) {
    const int from = parts_.plan.addends[i].node;  // the number of a node is its only worker's rank
    if (from >= 0) parts_.exchange.receive(messages_.incoming(static_cast<int>(slice - mine.begin()), i), from);
  }
}

Addends OrderedExchange::addends(int index) {
  Addends addends{.spans = {}, .program = parts_.plan.program};
  for (std::size_t i = 0; i < parts_.plan.addends.size(); ++i) addends.spans.push_back(messages_.addend(index, i));
  return addends;
}

void OrderedExchange::exchange_values() {
  parts_.exchange.after_compute();
  parts_.exchange.begin_group();
  for (const Slice& slice : parts_.partition.slices) {
    for (const PublishedRun& run : published_runs(slice, parts_.blocks)) {
      const DeviceSpan values = parts_.published(run);
      if (slice.owner != parts_.rank) {
        parts_.exchange.receive(values, slice.owner);
        continue;
      }
      for (int i = 1; i < parts_.workers; ++i) parts_.exchange.send(values, (parts_.rank + i) % parts_.workers);
    }
  }
  parts_.exchange.end_group();
}

}  // namespace ballast
