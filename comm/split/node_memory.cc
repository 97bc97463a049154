#include "comm/split/node_memory.h"

#include "comm/split/device_bytes.h"

namespace ballast {
namespace {

constexpr std::int64_t kPage = 4096;
constexpr std::int64_t kCounterBytes = 64;  // a cache line each

std::int64_t page_bytes(std::int64_t elements, DType dtype) {
  return (elements * size_of(dtype) + kPage - 1) / kPage * kPage;
}

}  // namespace

NodeMemory::NodeMemory(Communicator& node, std::int64_t flat_size, bool bf16, int buffers, Filling filling)
    : rank_(node.rank()), flat_size_(flat_size) {
  const std::int64_t f32_bytes = page_bytes(flat_size, DType::kF32);
  const std::int64_t bf16_bytes = bf16 ? page_bytes(flat_size, DType::kBF16) : 0;
  value_segments_ = node.share(node.rank() == 0 ? f32_bytes + bf16_bytes : 0, filling);
  gradient_segments_ = node.share(kPage + buffers * f32_bytes, filling);
  std::byte* start = value_segments_->of(0).data();
  values_ = {start, flat_size, DType::kF32};
  compute_values_ = {bf16 ? start + f32_bytes : nullptr, bf16 ? flat_size : 0, DType::kBF16};
}

DeviceSpan NodeMemory::gradients(int neighbour, int buffer) const {
  std::byte* start = gradient_segments_->of(neighbour).data() + kPage;
  return {start + buffer * page_bytes(flat_size_, DType::kF32), flat_size_, DType::kF32};
}

void NodeMemory::discard_gradients(int buffer, std::int64_t begin, std::int64_t end) {
  gradient_segments_->discard(bytes_of(gradients(rank_, buffer).subspan(begin, end - begin)));
}

void NodeMemory::discard_values(DeviceSpan part) const { value_segments_->discard(bytes_of(part)); }

std::atomic_ref<std::int64_t> NodeMemory::counter(int neighbour, int number) const {
  static_assert(std::atomic_ref<std::int64_t>::is_always_lock_free, "a lock would live in one process only");
  std::byte* place = gradient_segments_->of(neighbour).data() + number * kCounterBytes;
  return std::atomic_ref(*reinterpret_cast<std::int64_t*>(place));
}

}  // namespace ballast
