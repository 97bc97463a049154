#include "compute/cpu/scratch.h"

#include <algorithm>

namespace ballast {

ScratchPool::Lease ScratchPool::lend(std::int64_t bytes) {
  std::unique_ptr<AlignedMemory> block;
  {
    const std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      // The smallest that is large enough, else the largest: blocks keep their uses and soon stop growing.
      const auto better = [bytes](const auto& a, const auto& b) {
        const bool a_fits = a->bytes() >= bytes, b_fits = b->bytes() >= bytes;
        if (a_fits != b_fits) return a_fits;
        return a_fits ? a->bytes() < b->bytes() : a->bytes() > b->bytes();
      };
      const auto best = std::min_element(free_.begin(), free_.end(), better);
      block = std::move(*best);
      free_.erase(best);
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
