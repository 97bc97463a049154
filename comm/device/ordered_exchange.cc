#include "comm/device/ordered_exchange.h"

#include <algorithm>
#include <utility>

namespace ballast {
namespace {

constexpr std::int64_t kAlign = 64;  ///< elements: 256 bytes

std::int64_t elements_of(const Slice& slice) { return slice.end - slice.begin; }

}  // namespace

OrderedExchange::OrderedExchange(DeviceParts parts) : parts_(std::move(parts)) {
  for (const std::vector<OutgoingSum>& sums : parts_.plan.outgoing) {
    auto& offsets = outgoing_offsets_.emplace_back();
    for (const OutgoingSum& sum : sums) offsets.push_back(sum.parts.size() > 1 ? reserve(sum.slice) : 0);
  }
  for (const Slice& slice : parts_.plan.my_slices) {
    for (int i = 0; i < parts_.plan.incoming_per_slice; ++i) incoming_offsets_.push_back(reserve(slice));
  }
  if (message_elements_ > 0) messages_ = Buffer(parts_.backend, message_elements_, DType::kF32);
}

std::int64_t OrderedExchange::reserve(const Slice& slice) {
  const std::int64_t offset = message_elements_;
  message_elements_ += (elements_of(slice) + kAlign - 1) / kAlign * kAlign;
  return offset;
}

DeviceSpan OrderedExchange::message(std::int64_t offset, const Slice& slice) const {
  return messages_.span().subspan(offset, elements_of(slice));
}

DeviceSpan OrderedExchange::incoming(int index, const Addend& addend) const {
  const int number = index * parts_.plan.incoming_per_slice + addend.incoming;
  return message(incoming_offsets_[static_cast<std::size_t>(number)],
                 parts_.plan.my_slices[static_cast<std::size_t>(index)]);
}

/// Adds up the parts first where there are several.
ConstDeviceSpan OrderedExchange::outgoing(const OutgoingSum& sum, std::int64_t offset) const {
  std::vector<ConstDeviceSpan> parts;
  parts.reserve(sum.parts.size());
  for (const LocalSum& part : sum.parts) {
    parts.push_back(
        parts_.gradients[static_cast<std::size_t>(part.buffer)].subspan(sum.slice.begin, elements_of(sum.slice)));
  }
  if (parts.size() == 1) return parts.front();
  const DeviceSpan total = message(offset, sum.slice);
  parts_.backend.ordered_sum(parts, sum.program, total);
  return total;
}

void OrderedExchange::send_bucket(int bucket) {
  const std::vector<OutgoingSum>& sums = parts_.plan.outgoing[static_cast<std::size_t>(bucket)];
  const std::vector<std::int64_t>& offsets = outgoing_offsets_[static_cast<std::size_t>(bucket)];
  std::vector<ConstDeviceSpan> spans;
  for (std::size_t i = 0; i < sums.size(); ++i) spans.push_back(outgoing(sums[i], offsets[i]));
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
  for (const Addend& addend : parts_.plan.addends) {
    // The number of a node is its only worker's rank.
    if (addend.node >= 0)
      parts_.exchange.receive(incoming(static_cast<int>(slice - mine.begin()), addend), addend.node);
  }
}

Addends OrderedExchange::addends(int index) const {
  const Slice& slice = parts_.plan.my_slices[static_cast<std::size_t>(index)];
  Addends addends{.spans = {}, .program = parts_.plan.program};
  for (const Addend& addend : parts_.plan.addends) {
    const DeviceSpan local = parts_.gradients[static_cast<std::size_t>(addend.local.buffer)];
    addends.spans.push_back(addend.node < 0 ? local.subspan(slice.begin, elements_of(slice)) : incoming(index, addend));
  }
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
