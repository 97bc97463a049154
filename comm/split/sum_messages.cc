#include "comm/split/sum_messages.h"

#include <utility>

namespace ballast {
namespace {

constexpr std::int64_t kWordBytes = 4;
constexpr std::int64_t kAlign = 64;  ///< words: 256 bytes

std::int64_t elements_of(const Slice& slice) { return slice.end - slice.begin; }

}  // namespace

SumMessages::SumMessages(Backend& backend, const SumPlan& plan, const std::vector<Block>& blocks,
                         const GradientCoding& coding, GradientsOf gradients)
    : backend_(backend), plan_(plan), gradients_(std::move(gradients)), coded_(backend, plan, blocks, coding) {
  for (std::size_t bucket = 0; bucket < plan.outgoing.size(); ++bucket) {
    auto& places = outgoing_.emplace_back();
    for (std::size_t i = 0; i < plan.outgoing[bucket].size(); ++i) {
      const auto& [slice, sum] = plan.outgoing[bucket][i];
      const std::int64_t added = sum.parts.size() > 1 ? elements_of(slice) : 0;
      places.push_back(reserve(coded_.active() ? coded_.words_of_message(static_cast<int>(bucket), i) : added));
    }
  }
  for (std::size_t index = 0; index < plan.my_slices.size(); ++index) {
    const std::int64_t words =
        coded_.active() ? coded_.words_of_slice(static_cast<int>(index)) : elements_of(plan.my_slices[index]);
    for (int i = 0; i < plan.incoming_per_slice; ++i) incoming_.push_back(reserve(words));
  }
}

std::int64_t SumMessages::bytes() const { return words_ * kWordBytes; }

SumMessages::Place SumMessages::reserve(std::int64_t words) {
  const Place place{words_, words};
  words_ += (words + kAlign - 1) / kAlign * kAlign;
  return place;
}

DeviceSpan SumMessages::at(const Place& place) const {
  return {static_cast<std::byte*>(memory_) + place.offset * kWordBytes, place.words,
          coded_.active() ? DType::kI32 : DType::kF32};
}

ConstDeviceSpan SumMessages::sum_of(const PartialSum& sum, const Slice& slice, DeviceSpan to) const {
  std::vector<ConstDeviceSpan> spans;
  spans.reserve(sum.parts.size());
  for (const LocalSum& part : sum.parts) spans.push_back(gradients_(part).subspan(slice.begin, elements_of(slice)));
  if (spans.size() == 1) return spans.front();
  backend_.ordered_sum(spans, sum.program, to);
  return to;
}

ConstDeviceSpan SumMessages::outgoing(int bucket, std::size_t message) {
  const auto number = static_cast<std::size_t>(bucket);
  const auto& [slice, sum] = plan_.outgoing[number][message];
  const DeviceSpan place = at(outgoing_[number][message]);
  if (!coded_.active()) return sum_of(sum, slice, place);
  coded_.encode(bucket, message, sum_of(sum, slice, coded_.scratch(elements_of(slice))), place);
  return place;
}

DeviceSpan SumMessages::incoming(int index, std::size_t addend) const {
  const int number = index * plan_.incoming_per_slice + plan_.addends[addend].incoming;
  return at(incoming_[static_cast<std::size_t>(number)]);
}

ConstDeviceSpan SumMessages::addend(int index, std::size_t addend) {
  const Slice& slice = plan_.my_slices[static_cast<std::size_t>(index)];
  const auto& [sum, node, number] = plan_.addends[addend];
  if (!coded_.active()) return node < 0 ? sum_of(sum, slice, {}) : ConstDeviceSpan(incoming(index, addend));
  if (node >= 0) return coded_.decoded(index, addend, incoming(index, addend));
  return coded_.recoded(index, addend, sum_of(sum, slice, coded_.scratch(elements_of(slice))));
}

}  // namespace ballast
