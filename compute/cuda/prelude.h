// Defines: what every .cu file starts from: the device language, launch and blocks_for.
//
// Conventions, which the emulator of tests/cuda_emulator relies on:
//  * A kernel is launched by launch() only, and names its largest block in __launch_bounds__.
//  * Shared memory is one struct for each kernel, from block_shared(), or dynamic_shared(); there is no bare
//  __shared__.
//  * Shuffles and votes name the full mask and are executed by whole warps.
//  * No thread leaves before a barrier that others reach; no barrier stands in a condition that may differ in a block.
//  * No floating-point atomics: every sum has an order that follows from shapes.
//
// The comment of a kernel, or of the functor that it is made for, has a line `Cost of an element: 2e bytes, 7 FLOPs.`
// for the table in docs/gpu.md. Bytes are those of global memory if caches were ideal, e those of an element of an
// activation; a multiply-add is two FLOPs, an exponential, division or root is one, a comparison none. Terms of lower
// order are left out. Dynamic shared memory is named, too: `Up to 52224 bytes of dynamic shared memory.`
//
// <ballast_device.h> holds the few things that NVIDIA's compiler and the emulator spell differently. The include path
// chooses it.
#pragma once

#include <ballast_device.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <source_location>
#include <type_traits>
#include <utility>

#include "compute/cuda/check.h"

namespace ballast::cuda {

using Bf16 = __nv_bfloat16;

constexpr unsigned kFullWarp = 0xffffffffU;
constexpr int kWarp = 32;

/// A grid of one dimension that covers `items` with `per_block` each; at least one block, since CUDA refuses none.
[[nodiscard]] inline dim3 blocks_for(std::int64_t items, std::int64_t per_block) {
  const std::int64_t blocks = items > 0 ? (items + per_block - 1) / per_block : 1;
  require(blocks <= 0x7fffffff, "a CUDA grid has at most 2^31 - 1 blocks");
  return {static_cast<unsigned>(blocks), 1, 1};
}

/// Starts `kernel` on `stream`. Arguments are converted to the kernel's parameter types and copied.
template <class... Parameters, class... Arguments>
void launch(dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

}  // namespace ballast::cuda
