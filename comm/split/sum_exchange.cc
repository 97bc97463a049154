#include "comm/split/sum_exchange.h"

#include <algorithm>
#include <utility>

#include "comm/split/device_bytes.h"

namespace ballast {
namespace {

constexpr int kSumTag = 1;

}  // namespace

SumExchange::SumExchange(const SplitParts& parts, SumPlan plan, const std::vector<Block>& blocks,
                         const GradientCoding& coding)
    : parts_(parts),
      plan_(std::move(plan)),
      messages_(parts.backend, plan_, blocks, coding,
                [&memory = parts.memory](const LocalSum& sum) { return memory.gradients(sum.neighbour, sum.buffer); }),
      memory_(parts.node.share(messages_.bytes())),
      arrived_(plan_.my_slices.size() * static_cast<std::size_t>(plan_.incoming_per_slice)),
      to_leave_(plan_.outgoing.size()) {
  messages_.place(memory_->of(parts.node.rank()).data());
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
    for (std::size_t at = 0; at < plan_.addends.size(); ++at) {
      const Addend& addend = plan_.addends[at];
      if (addend.node < 0) continue;
      const int from = parts_.topology.contact(addend.node, slice.owner, slice.bucket);
      const std::size_t number = incoming_number(i, addend);
      arrived_[number] = false;
      parts_.transfers.receive(bytes_of(messages_.incoming(i, at)), from, kSumTag,
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
  std::vector<ConstDeviceSpan> ready;
  for (std::size_t i = 0; i < messages.size(); ++i) ready.push_back(messages_.outgoing(bucket, i));
  parts_.backend.synchronize();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    parts_.transfers.send(bytes_of(ready[i]), messages[i].slice.owner, kSumTag,
                          [&left = to_leave_[static_cast<std::size_t>(bucket)]] { --left; });
  }
}

void SumExchange::sum_slice(int index, DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares) {
  std::vector<ConstDeviceSpan> sums;
  for (std::size_t i = 0; i < plan_.addends.size(); ++i) {
    const Addend& addend = plan_.addends[i];
    if (addend.node >= 0) {
      const std::size_t number = incoming_number(index, addend);
      parts_.transfers.wait_until([&] { return arrived_[number].load(); });
    }
    sums.push_back(messages_.addend(index, i));
  }
  parts_.backend.ordered_sum_and_squares(sums, plan_.program, sum, parts, squares);
}

}  // namespace ballast
