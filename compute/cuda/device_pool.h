// Defines: DevicePool: device memory that is kept for the next allocation of its size.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <vector>

#include "compute/cuda/handles.h"

namespace ballast::cuda {

/// Taking memory from the driver and giving it back wait for the device; here both are free once every size has been
/// seen. Sizes follow from a job's shapes and repeat, so memory is kept by exact size; when the device is full, what is
/// kept goes back to the driver first. Memory may be given out again while queued work still uses it: the next user's
/// work comes later in the same stream.
class DevicePool {
 public:
  /// Aligned to 256 bytes. Throws Error naming the bytes asked for.
  void* allocate(std::int64_t bytes);
  void release(void* memory) noexcept;

 private:
  struct Block {
    DeviceMemory memory;
    std::int64_t bytes = 0;
  };
  [[nodiscard]] DeviceMemory from_driver(std::int64_t bytes);

  std::unordered_map<void*, Block> in_use_;
  std::map<std::int64_t, std::vector<DeviceMemory>> kept_;  ///< by size
};

}  // namespace ballast::cuda
