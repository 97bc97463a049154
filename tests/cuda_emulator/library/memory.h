// Device and pinned memory: guarded mappings of host memory. Everything here runs under the lock of the streams.
#pragma once

#include <cstddef>

namespace cuda_emulator {

enum class MemoryKind { kDevice, kPinned };

struct Allocation {
  std::size_t bytes;
  MemoryKind kind;
  char* mapping;  // whole pages, and a guard page behind them
  std::size_t mapping_bytes;
  int copies_in_flight = 0;
};

constexpr std::size_t kDeviceBytes = std::size_t{8} << 30;
std::size_t device_bytes_in_use();

/// Memory filled with 0xff bytes (NaN), aligned to 256 bytes, its end as near to the guard page as that allows.
void* allocate(std::size_t bytes, MemoryKind kind);
/// False when `memory` is no such allocation. What is freed stays a forbidden address for a long time.
bool deallocate(void* memory, MemoryKind kind);

/// The allocation that holds `pointer`, or null.
Allocation* find_allocation(const volatile void* pointer);

enum class Access { kRead, kWrite };
/// `bytes` at `pointer` must lie in one allocation; TSan learns of the access.
void check_range(const void* pointer, std::size_t bytes, const char* who, Access access);

/// A pointer given to a kernel.
void check_argument(const volatile void* pointer, int argument);

/// Device memory is out of reach for the host but between these two.
void open_device_memory();
void close_device_memory();

}  // namespace cuda_emulator
