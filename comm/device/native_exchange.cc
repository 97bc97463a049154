#include "comm/device/native_exchange.h"

#include <algorithm>
#include <utility>

namespace ballast {
namespace {

constexpr std::int64_t kAlign = 64;  ///< elements

std::int64_t aligned(std::int64_t elements) { return (elements + kAlign - 1) / kAlign * kAlign; }

std::int64_t elements_of(const Slice& slice) { return slice.end - slice.begin; }

/// Adds `count` addends from left to right.
std::vector<int> left_to_right(std::size_t count) {
  std::vector<int> program{0};
  for (std::size_t i = 1; i < count; ++i) program.insert(program.end(), {static_cast<int>(i), -1});
  return program;
}

/// Never read before it is written, but the transport adds up the slots of workers that own nothing too.
Buffer zeroed(Backend& backend, std::int64_t elements, DType dtype) {
  if (elements == 0) return {};
  Buffer buffer(backend, elements, dtype);
  backend.zero(buffer.span());
  return buffer;
}

}  // namespace

NativeExchange::NativeExchange(DeviceParts parts)
    : parts_(std::move(parts)), buckets_(cut_slots()), f32_(pack(DType::kF32)), bf16_(pack(DType::kBF16)) {
  const BucketSlots end = buckets_.empty() ? BucketSlots{} : buckets_.back();
  const std::int64_t elements = end.offset + end.slot * parts_.workers;
  sums_ = zeroed(parts_.backend, elements, DType::kF32);
  received_ = zeroed(parts_.backend, elements / parts_.workers, DType::kF32);
}

std::vector<NativeExchange::BucketSlots> NativeExchange::cut_slots() const {
  std::vector<BucketSlots> buckets(static_cast<std::size_t>(parts_.partition.buckets()));
  for (const Slice& slice : parts_.partition.slices) {
    BucketSlots& bucket = buckets[static_cast<std::size_t>(slice.bucket)];
    bucket.slot = std::max(bucket.slot, aligned(elements_of(slice)));
  }
  std::int64_t offset = 0;
  for (BucketSlots& bucket : buckets) {
    bucket.offset = offset;
    offset += bucket.slot * parts_.workers;
  }
  return buckets;
}

NativeExchange::PackedValues NativeExchange::pack(DType dtype) const {
  PackedValues packed;
  std::vector<std::int64_t> ends(static_cast<std::size_t>(parts_.workers));
  for (const Slice& slice : parts_.partition.slices) {
    std::int64_t& end = ends[static_cast<std::size_t>(slice.owner)];
    for (const PublishedRun& run : published_runs(slice, parts_.blocks)) {
      if (run.dtype != dtype) continue;
      packed.runs.push_back({parts_.published(run), slice.owner, end});
      end += aligned(run.end - run.begin);
    }
  }
  packed.slot = std::ranges::max(ends);
  packed.buffer = zeroed(parts_.backend, packed.slot * parts_.workers, dtype);
  return packed;
}

DeviceSpan NativeExchange::received(const BucketSlots& bucket) const {
  return received_.span().subspan(bucket.offset / parts_.workers, bucket.slot);
}

void NativeExchange::send_bucket(int bucket) {
  const BucketSlots& slots = buckets_[static_cast<std::size_t>(bucket)];
  const DeviceSpan all = sums_.span().subspan(slots.offset, slots.slot * parts_.workers);
  for (const Slice& slice : parts_.partition.slices) {
    if (slice.bucket != bucket || slice.block_count == 0) continue;
    std::vector<ConstDeviceSpan> mine;
    for (const Addend& addend : parts_.plan.addends) {
      if (addend.node >= 0) continue;
      const DeviceSpan gradients = parts_.gradients[static_cast<std::size_t>(addend.sum.parts.front().buffer)];
      mine.push_back(gradients.subspan(slice.begin, elements_of(slice)));
    }
    parts_.backend.ordered_sum(mine, left_to_right(mine.size()),
                               all.subspan(slice.owner * slots.slot, elements_of(slice)));
  }
  parts_.exchange.after_compute();
  parts_.exchange.reduce_scatter(all, received(slots));
}

Addends NativeExchange::addends(int index) {
  const Slice& slice = parts_.plan.my_slices[static_cast<std::size_t>(index)];
  const DeviceSpan sum = received(buckets_[static_cast<std::size_t>(slice.bucket)]);
  return {.spans = {sum.subspan(0, elements_of(slice))}, .program = {0}};
}

void NativeExchange::exchange_values() {
  for (PackedValues* packed : {&f32_, &bf16_}) gather(*packed);
  parts_.exchange.before_compute(parts_.exchange.mark());
  for (const PackedValues* packed : {&f32_, &bf16_}) unpack(*packed);
}

void NativeExchange::gather(PackedValues& packed) {
  if (packed.slot == 0) return;
  const DeviceSpan all = packed.buffer.span();
  const DeviceSpan mine = all.subspan(parts_.rank * packed.slot, packed.slot);
  for (const PackedRun& run : packed.runs) {
    if (run.owner == parts_.rank) parts_.backend.convert(run.values, mine.subspan(run.offset, run.values.size));
  }
  parts_.exchange.after_compute();
  parts_.exchange.all_gather(mine, all);
}

void NativeExchange::unpack(const PackedValues& packed) {
  for (const PackedRun& run : packed.runs) {
    if (run.owner == parts_.rank) continue;
    const DeviceSpan slot = packed.buffer.span().subspan(run.owner * packed.slot, packed.slot);
    parts_.backend.convert(slot.subspan(run.offset, run.values.size), run.values);
  }
}

}  // namespace ballast
