// Defines: Stream, Event, PinnedMemory, DeviceMemory: CUDA's resources, each freed by its one owner.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <span>
#include <utility>

#include "compute/cuda/check.h"

namespace ballast::cuda {

/// A handle that `Destroy` frees. Errors on the way out are dropped: the handle is gone either way.
template <class Handle, auto Destroy>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle_ != nullptr) (void)Destroy(handle_);
  }
  [[nodiscard]] Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

using Stream = Owned<cudaStream_t, cudaStreamDestroy>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;
using PinnedMemory = Owned<void*, cudaFreeHost>;  ///< host memory that devices copy from and to by themselves
using DeviceMemory = Owned<void*, cudaFree>;

/// A stream beside the default stream: neither waits for the other.
[[nodiscard]] inline Stream make_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return Stream(stream);
}

[[nodiscard]] inline Event make_event() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return Event(event);
}

[[nodiscard]] inline PinnedMemory make_pinned(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, bytes));
  return PinnedMemory(memory);
}

[[nodiscard]] inline DeviceMemory make_device_memory(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes));
  return DeviceMemory(memory);
}

/// Work queued on `to` from now on waits for what is on `from` now.
inline void order_after(cudaStream_t to, cudaEvent_t event, cudaStream_t from) {
  check(cudaEventRecord(event, from));
  check(cudaStreamWaitEvent(to, event, 0));
}

}  // namespace ballast::cuda
