#include "compute/cuda/device_pool.h"

#include <algorithm>
#include <string>
#include <utility>

#include "compute/cuda/check.h"

namespace ballast::cuda {

namespace {

/// Empty where the device has no room for it.
DeviceMemory try_driver(std::int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<std::size_t>(bytes));
  if (status != cudaErrorMemoryAllocation) check(status);
  (void)cudaGetLastError();  // the driver remembers a refusal; it is no error of the work
  return DeviceMemory(memory);
}

[[noreturn]] void report_full(std::int64_t bytes) {
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaMemGetInfo(&free, &total));
  throw Error("cannot allocate " + std::to_string(bytes) + " bytes (" + std::to_string(bytes >> 20) +
              " MiB) of device memory: " + std::to_string(free >> 20) + " of " + std::to_string(total >> 20) +
              " MiB are free; use a smaller batch.micro or model, or more workers");
}

}  // namespace

DeviceMemory DevicePool::from_driver(std::int64_t bytes) {
  DeviceMemory memory = try_driver(bytes);
  if (memory.get() == nullptr && !kept_.empty()) {
    kept_.clear();  // freeing waits for the work that uses it
    memory = try_driver(bytes);
  }
  if (memory.get() == nullptr) report_full(bytes);
  return memory;
}

void* DevicePool::allocate(std::int64_t bytes) {
  require(bytes >= 0, "memory of a negative size was asked for");
  const std::int64_t size = std::max<std::int64_t>(bytes, 1);
  Block block{{}, size};
  if (const auto kept = kept_.find(size); kept != kept_.end() && !kept->second.empty()) {
    block.memory = std::move(kept->second.back());
    kept->second.pop_back();
  } else {
    block.memory = from_driver(size);
  }
  void* const memory = block.memory.get();
  in_use_.emplace(memory, std::move(block));
  return memory;
}

void DevicePool::release(void* memory) noexcept {
  const auto found = in_use_.find(memory);
  if (found == in_use_.end()) return;
  kept_[found->second.bytes].push_back(std::move(found->second.memory));
  in_use_.erase(found);
}

}  // namespace ballast::cuda
