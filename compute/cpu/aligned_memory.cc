#include "compute/cpu/aligned_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>

#include "compute/error.h"

namespace ballast {

namespace {

constexpr std::int64_t kPage = 4096;
constexpr std::int64_t kHugePage = std::int64_t{2} << 20;
constexpr std::int64_t kHugeFrom = std::int64_t{4} << 20;

}  // namespace

void* allocate_aligned(std::int64_t bytes) {
  require(bytes >= 0 && bytes <= std::numeric_limits<std::int64_t>::max() - kHugePage,
          "memory of a negative or impossible size was asked for");
  const std::int64_t alignment = bytes >= kHugeFrom ? kHugePage : kPage;
  const std::int64_t rounded = std::max(alignment, (bytes + alignment - 1) / alignment * alignment);
  void* memory = std::aligned_alloc(static_cast<std::size_t>(alignment), static_cast<std::size_t>(rounded));
  if (memory == nullptr) {
    throw Error("cannot allocate " + std::to_string(bytes) + " bytes (" + std::to_string(bytes >> 20) +
                " MiB) of memory: use a smaller batch.micro or model, or more memory");
  }
  // Only a wish: without huge pages the job is slower, not wrong. The last huge page, were it not whole, would take
  // memory that nobody asked for.
  if (alignment == kHugePage) madvise(memory, static_cast<std::size_t>(bytes / kHugePage * kHugePage), MADV_HUGEPAGE);
  return memory;
}

void release_aligned(void* memory) noexcept { std::free(memory); }

std::byte* AlignedMemory::at_least(std::int64_t bytes) {
  if (bytes > bytes_) {
    release_aligned(memory_);
    memory_ = nullptr;
    bytes_ = 0;
    memory_ = allocate_aligned(bytes);
    bytes_ = bytes;
  }
  return static_cast<std::byte*>(memory_);
}

}  // namespace ballast
