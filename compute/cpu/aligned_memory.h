// Defines: allocate_aligned, release_aligned, AlignedMemory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ballast {

/// At least `bytes` bytes aligned to 4096, not cleared; large blocks ask for huge pages. Throws Error naming the bytes.
[[nodiscard]] void* allocate_aligned(std::int64_t bytes);
void release_aligned(void* memory) noexcept;

/// A block that grows and is kept: scratch memory that a loop needs again and again. Not thread-safe.
class AlignedMemory {
 public:
  AlignedMemory() = default;
  ~AlignedMemory() { release_aligned(memory_); }
  AlignedMemory(const AlignedMemory&) = delete;
  AlignedMemory& operator=(const AlignedMemory&) = delete;

  /// At least `bytes` bytes, valid until the next call; what they held is lost when the block grows.
  std::byte* at_least(std::int64_t bytes);
  [[nodiscard]] std::int64_t bytes() const { return bytes_; }  ///< there without growing

 private:
  void* memory_ = nullptr;
  std::int64_t bytes_ = 0;
};

}  // namespace ballast
