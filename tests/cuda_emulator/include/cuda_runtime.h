// Shadows NVIDIA's <cuda_runtime.h> where CUDA sources are compiled for the emulator. Types, enumerations and the
// prototypes of the API are NVIDIA's own; only the language of the device is provided here.
#pragma once

#include <cuda_runtime_api.h>
#include <vector_functions.h>

#include <tuple>
#include <utility>

#include "cuda_emulator/execution.h"

#undef __shared__    // It would silently mean one variable for all blocks. Shared memory comes from block_shared().
#undef __noinline__  // the standard library writes __attribute__((__noinline__))
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __grid_constant__
#define __grid_constant__
#undef __forceinline__
#define __forceinline__ inline
#ifndef __restrict__
#define __restrict__ __restrict
#endif

extern uint3 threadIdx, blockIdx;  // of the thread that runs; the scheduler sets them at every switch
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

#include "cuda_emulator/atomics.h"
#include "cuda_emulator/intrinsics.h"
#include "cuda_emulator/warp.h"

inline void __syncthreads(CUDA_EMULATOR_SITE) { cuda_emulator::barrier(0, site); }
inline int __syncthreads_count(int predicate, CUDA_EMULATOR_SITE) { return cuda_emulator::barrier(predicate, site); }
inline int __syncthreads_or(int predicate, CUDA_EMULATOR_SITE) { return cuda_emulator::barrier(predicate, site) != 0; }
inline int __syncthreads_and(int predicate, CUDA_EMULATOR_SITE) {
  return cuda_emulator::barrier(predicate == 0, site) == 0;
}

namespace cuda_emulator {

template <class T>
void check_argument(const T& argument, int number) {
  if constexpr (std::is_pointer_v<T>) check_kernel_pointer(argument, number);
}

}  // namespace cuda_emulator

/// NVIDIA's own signature, so that product code calls it unchanged. Arguments are copied here, as a launch does.
template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  std::tuple<std::decay_t<Parameters>...> copies(
      static_cast<std::decay_t<Parameters>>(std::forward<Arguments>(arguments))...);
  std::apply(
      [](const auto&... copy) {
        int number = 0;
        (cuda_emulator::check_argument(copy, number++), ...);
      },
      copies);
  return cuda_emulator::launch(*config, reinterpret_cast<const void*>(kernel),
                               [kernel, copies] { std::apply(kernel, copies); });
}

// The typed faces that NVIDIA's header adds to the C functions.
template <class T>
cudaError_t cudaFuncSetAttribute(T* kernel, cudaFuncAttribute attribute, int value) {
  return ::cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
template <class T>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, T* kernel) {
  return ::cudaFuncGetAttributes(attributes, reinterpret_cast<const void*>(kernel));
}
template <class T>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, T* kernel, int threads, std::size_t shared) {
  return ::cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, reinterpret_cast<const void*>(kernel), threads,
                                                         shared);
}
template <class T>
cudaError_t cudaMalloc(T** pointer, std::size_t bytes) {
  return ::cudaMalloc(reinterpret_cast<void**>(pointer), bytes);
}
template <class T>
cudaError_t cudaMallocHost(T** pointer, std::size_t bytes) {
  return ::cudaMallocHost(reinterpret_cast<void**>(pointer), bytes);
}
