#include "compute/cpu/scratch.h"

namespace ballast {

ScratchPool::Lease ScratchPool::lend(std::int64_t bytes) {
  std::unique_ptr<AlignedMemory> block;
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      block = std::move(free_.back());
      free_.pop_back();
    } else {
      // Room for one more, so that give_back never allocates.
      free_.reserve(free_.capacity() + 1);
    }
  }
  if (block == nullptr) block = std::make_unique<AlignedMemory>();
  return {*this, std::move(block), bytes};
}

void ScratchPool::give_back(std::unique_ptr<AlignedMemory> block) noexcept {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(block));
}

}  // namespace ballast
