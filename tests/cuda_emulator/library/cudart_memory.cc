// The CUDA runtime: memory and copies.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "capture.h"
#include "cuda_emulator/execution.h"
#include "last_error.h"
#include "memory.h"
#include "sanitizers.h"
#include "streams.h"

namespace cuda_emulator {
namespace {

bool on_device(const void* pointer) {
  const Allocation* allocation = find_allocation(pointer);
  return allocation != nullptr && allocation->kind == MemoryKind::kDevice;
}

bool direction_fits(bool to_device, bool from_device, cudaMemcpyKind kind) {
  switch (kind) {
    case cudaMemcpyHostToDevice:
      return to_device && !from_device;
    case cudaMemcpyDeviceToHost:
      return !to_device && from_device;
    case cudaMemcpyDeviceToDevice:
      return to_device && from_device;
    case cudaMemcpyHostToHost:
      return !to_device && !from_device;
    default:
      return true;
  }
}

void copy_now(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (!direction_fits(on_device(to), on_device(from), kind)) {
    fail("cudaMemcpy of kind %d does not fit its pointers: %p to %p", kind, from, to);
  }
  if (kind != cudaMemcpyDeviceToHost || find_allocation(to) != nullptr)
    check_range(to, bytes, "copy to", Access::kWrite);
  if (find_allocation(from) != nullptr) check_range(from, bytes, "copy from", Access::kRead);
  std::memcpy(to, from, bytes);
}

bool host_function_waits(const CUstream_st& stream) {
  return std::any_of(stream.queue.begin(), stream.queue.end(), [](const std::unique_ptr<Work>& work) {
    return std::string_view(work->what) == "cudaLaunchHostFunc";
  });
}

Node node_of(const void* to, const void* from) {
  if (on_device(to)) return on_device(from) ? Node::kCopyOnDevice : Node::kCopyIn;
  return on_device(from) ? Node::kCopyOut : Node::kCopyOnHost;
}

Allocation* pinned_of(void* to, const void* from) {
  Allocation* pinned = find_allocation(on_device(to) ? from : to);
  return pinned != nullptr && pinned->kind == MemoryKind::kPinned ? pinned : nullptr;
}

// Marks a pinned buffer while a copy that uses it is on its way. What a copy will write is undefined until the stream
// is synchronised: NaN, unless another copy, or a host function before this one, may still read it. TSan does not see
// the NaN: they are the emulator's, and an earlier copy of the same stream may have written there with nothing between
// it and the host but the stream's order.
void begin_copy(void* to, const void* from, std::size_t bytes, const CUstream_st& stream) {
  Allocation* pinned = pinned_of(to, from);
  if (pinned == nullptr) return;
  if (!on_device(to) && pinned->copies_in_flight == 0 && !host_function_waits(stream)) {
    const UnseenByTsan undefined;
    std::memset(to, 0xff, bytes);
  }
  ++pinned->copies_in_flight;
}

// The copy, whose buffers are marked by whoever queues it, at once or when it is launched in a graph.
Work copy_work(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return {.what = "cudaMemcpyAsync",
          .run =
              [=](CUstream_st&) {
                copy_now(to, from, bytes, kind);
                if (Allocation* pinned = pinned_of(to, from)) --pinned->copies_in_flight;
              },
          .node = node_of(to, from)};
}

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, CUstream_st& stream) {
  if (bytes == 0) return cudaSuccess;
  const bool pageable_source = find_allocation(from) == nullptr, pageable_target = find_allocation(to) == nullptr;
  if (stream.capture != nullptr) {
    if (pageable_source || pageable_target) return remember(forbidden_while_capturing(stream));
    Work work = copy_work(to, from, bytes, kind);
    work.at_launch = [=](const CUstream_st& launched) { begin_copy(to, from, bytes, launched); };
    push(stream, std::move(work));
    return cudaSuccess;
  }
  if (pageable_source) {  // staged before the call returns
    const auto* bytes_of_source = static_cast<const std::byte*>(from);
    const auto staged = std::make_shared<std::vector<std::byte>>(bytes_of_source, bytes_of_source + bytes);
    push(stream, {.what = "cudaMemcpyAsync", .run = [=](CUstream_st&) { copy_now(to, staged->data(), bytes, kind); }});
    return cudaSuccess;
  }
  begin_copy(to, from, bytes, stream);
  push(stream, copy_work(to, from, bytes, kind));
  if (pageable_target) synchronize(stream);
  return cudaSuccess;
}

cudaError_t allocate_for(void** pointer, std::size_t bytes, MemoryKind kind) {
  const Lock lock;
  *pointer = nullptr;
  if (const cudaError_t error = forbidden_in_capture()) return remember(error);
  if (bytes == 0) return cudaSuccess;
  if (kind == MemoryKind::kDevice && bytes > kDeviceBytes - device_bytes_in_use()) {
    return remember(cudaErrorMemoryAllocation);
  }
  *pointer = allocate(bytes, kind);
  return *pointer == nullptr ? remember(cudaErrorMemoryAllocation) : cudaSuccess;
}

cudaError_t free_behind_everything(void* pointer, MemoryKind kind) {
  if (pointer == nullptr) return cudaSuccess;
  const Lock lock;
  if (const cudaError_t error = forbidden_in_capture()) return remember(error);
  synchronize_all();
  return deallocate(pointer, kind) ? cudaSuccess : remember(cudaErrorInvalidValue);
}

}  // namespace
}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

cudaError_t cudaMalloc(void** pointer, std::size_t bytes) { return allocate_for(pointer, bytes, MemoryKind::kDevice); }
cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
  return allocate_for(pointer, bytes, MemoryKind::kPinned);
}
cudaError_t cudaHostAlloc(void** pointer, std::size_t bytes, unsigned) {
  return allocate_for(pointer, bytes, MemoryKind::kPinned);
}
cudaError_t cudaMallocAsync(void** pointer, std::size_t bytes, cudaStream_t) {
  return allocate_for(pointer, bytes, MemoryKind::kDevice);
}

cudaError_t cudaFree(void* pointer) { return free_behind_everything(pointer, MemoryKind::kDevice); }
cudaError_t cudaFreeHost(void* pointer) { return free_behind_everything(pointer, MemoryKind::kPinned); }
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  const Lock lock;
  push(stream_of(stream), {.what = "cudaFreeAsync", .run = [pointer](CUstream_st&) {
                             if (!deallocate(pointer, MemoryKind::kDevice)) fail("%p was not allocated", pointer);
                           }});
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock;
  return copy(to, from, bytes, kind, stream_of(stream));
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const Lock lock;
  if (const cudaError_t error = forbidden_in_capture()) return remember(error);
  return copy(to, from, bytes, kind, stream_of(nullptr));
}

cudaError_t cudaMemsetAsync(void* pointer, int value, std::size_t bytes, cudaStream_t stream) {
  const Lock lock;
  push(stream_of(stream), {.what = "cudaMemsetAsync",
                           .run =
                               [=](CUstream_st&) {
                                 check_range(pointer, bytes, "memset", Access::kWrite);
                                 std::memset(pointer, value, bytes);
                               },
                           .node = Node::kMemset});
  return cudaSuccess;
}
cudaError_t cudaMemset(void* pointer, int value, std::size_t bytes) {
  {
    const Lock lock;
    if (const cudaError_t error = forbidden_in_capture()) return remember(error);
  }
  return cudaMemsetAsync(pointer, value, bytes, nullptr);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  const Lock lock;
  std::memset(attributes, 0, sizeof *attributes);
  const Allocation* allocation = find_allocation(pointer);
  attributes->type = allocation == nullptr                     ? cudaMemoryTypeUnregistered
                     : allocation->kind == MemoryKind::kDevice ? cudaMemoryTypeDevice
                                                               : cudaMemoryTypeHost;
  return cudaSuccess;
}

}  // extern "C"
