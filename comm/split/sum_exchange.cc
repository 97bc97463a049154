#include "comm/split/sum_exchange.h"

#include <algorithm>
#include <utility>

#include "comm/split/device_bytes.h"

namespace ballast {
namespace {

constexpr int kSumTag = 1;
constexpr std::int64_t kAlign = 16;  ///< elements: 64 bytes

std::int64_t elements_of(const Slice& slice) { return slice.end - slice.begin; }

}  // namespace

SumExchange::SumExchange(const SplitParts& parts, SumPlan plan) : parts_(parts), plan_(std::move(plan)) {
  for (const std::vector<OutgoingSum>& messages : plan_.outgoing) {
    auto& offsets = outgoing_offsets_.emplace_back();
    for (const OutgoingSum& message : messages) {
      offsets.push_back(message.parts.size() > 1 ? reserve(elements_of(message.slice)) : 0);
    }
  }
  for (const Slice& slice : plan_.my_slices) {
    for (int i = 0; i < plan_.incoming_per_slice; ++i) incoming_offsets_.push_back(reserve(elements_of(slice)));
  }
  arrived_ = std::vector<std::atomic<bool>>(incoming_offsets_.size());
  to_leave_ = std::vector<std::atomic<int>>(plan_.outgoing.size());
  messages_ = parts_.node.share(message_elements_ * size_of(DType::kF32));
}

std::int64_t SumExchange::reserve(std::int64_t elements) {
  const std::int64_t offset = message_elements_;
  message_elements_ += (elements + kAlign - 1) / kAlign * kAlign;
  return offset;
}

ConstDeviceSpan SumExchange::local_span(const LocalSum& local, const Slice& slice) const {
  return parts_.memory.gradients(local.neighbour, local.buffer).subspan(slice.begin, elements_of(slice));
}

DeviceSpan SumExchange::message_span(std::int64_t offset, const Slice& slice) const {
  const DeviceSpan all{messages_->of(parts_.node.rank()).data(), message_elements_, DType::kF32};
  return all.subspan(offset, elements_of(slice));
}

std::size_t SumExchange::incoming_number(int slice, const Addend& addend) const {
  return static_cast<std::size_t>(slice) * static_cast<std::size_t>(plan_.incoming_per_slice) +
         static_cast<std::size_t>(addend.incoming);
}

void SumExchange::begin_step() {
  next_bucket_ = 0;
  buckets_before_ = steps_++ * parts_.partition.buckets();
  for (std::size_t bucket = 0; bucket < to_leave_.size(); ++bucket) {
    to_leave_[bucket] = static_cast<int>(plan_.outgoing[bucket].size());
  }
  for (int i = 0; i < static_cast<int>(my_slices().size()); ++i) {
    const Slice& slice = my_slices()[static_cast<std::size_t>(i)];
    for (const Addend& addend : plan_.addends) {
      if (addend.node < 0) continue;
      const int from = parts_.topology.contact(addend.node, slice.owner, slice.bucket);
      const std::size_t number = incoming_number(i, addend);
      arrived_[number] = false;
      parts_.transfers.receive(bytes_of(message_span(incoming_offsets_[number], slice)), from, kSumTag,
                               [this, number] { arrived_[number] = true; });
    }
  }
}

void SumExchange::finished(int count) {
  const auto mine = parts_.memory.finished_buckets(parts_.node.rank());
  if (mine.load(std::memory_order_relaxed) < buckets_before_ + count) {
    parts_.backend.synchronize();
    mine.store(buckets_before_ + count, std::memory_order_release);
  }
  send_finished_buckets();
  parts_.transfers.turn();
}

void SumExchange::send_finished_buckets() {
  const int finished = finished_on_node();
  while (next_bucket_ < finished) send_bucket(next_bucket_++);
}

int SumExchange::least_on_node(Counter counter) const {
  std::int64_t least = parts_.partition.buckets();
  for (int neighbour = 0; neighbour < parts_.node.size(); ++neighbour) {
    const std::int64_t theirs = (parts_.memory.*counter)(neighbour).load(std::memory_order_acquire);
    least = std::min(least, theirs - buckets_before_);
  }
  return static_cast<int>(least);
}

int SumExchange::finished_on_node() const { return least_on_node(&NodeMemory::finished_buckets); }

int SumExchange::summed_on_node() const { return least_on_node(&NodeMemory::summed_buckets); }

bool SumExchange::arrived(int index) const {
  return std::all_of(plan_.addends.begin(), plan_.addends.end(),
                     [&](const Addend& addend) { return addend.node < 0 || arrived_[incoming_number(index, addend)]; });
}

void SumExchange::summed(int count) {
  const auto left = std::find_if(to_leave_.begin(), to_leave_.end(), [](const auto& messages) { return messages > 0; });
  count = std::min(count, static_cast<int>(left - to_leave_.begin()));
  parts_.memory.summed_buckets(parts_.node.rank()).store(buckets_before_ + count, std::memory_order_release);
}

void SumExchange::finished_by_all() {
  if (parts_.topology.nodes() == 1) return;
  while (next_bucket_ < parts_.partition.buckets()) send_bucket(next_bucket_++);
}

void SumExchange::send_bucket(int bucket) {
  const std::vector<OutgoingSum>& messages = plan_.outgoing[static_cast<std::size_t>(bucket)];
  const std::vector<std::int64_t>& offsets = outgoing_offsets_[static_cast<std::size_t>(bucket)];
  std::vector<ConstDeviceSpan> ready;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Slice& slice = messages[i].slice;
    std::vector<ConstDeviceSpan> parts;
    for (const LocalSum& part : messages[i].parts) parts.push_back(local_span(part, slice));
    if (parts.size() > 1) {
      const DeviceSpan sum = message_span(offsets[i], slice);
      parts_.backend.ordered_sum(parts, messages[i].program, sum);
      ready.push_back(sum);
    } else {
      ready.push_back(parts.front());
    }
  }
  parts_.backend.synchronize();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    parts_.transfers.send(bytes_of(ready[i]), messages[i].slice.owner, kSumTag,
                          [&left = to_leave_[static_cast<std::size_t>(bucket)]] { --left; });
  }
}

void SumExchange::sum_slice(int index, DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares) {
  const Slice& slice = my_slices()[static_cast<std::size_t>(index)];
  std::vector<ConstDeviceSpan> sums;
  for (const Addend& addend : plan_.addends) {
    if (addend.node < 0) {
      sums.push_back(local_span(addend.local, slice));
      continue;
    }
    const std::size_t number = incoming_number(index, addend);
    parts_.transfers.wait_until([&] { return arrived_[number].load(); });
    sums.push_back(message_span(incoming_offsets_[number], slice));
  }
  parts_.backend.ordered_sum_and_squares(sums, plan_.program, sum, parts, squares);
}

}  // namespace ballast
