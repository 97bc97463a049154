// Defines: piece_of_block, add_block: what kernels over pieces share.
#pragma once

#include "compute/cuda/pieces.h"
#include "compute/cuda/prelude.h"

namespace ballast::cuda {

/// The elements that this block of threads handles.
__device__ __forceinline__ ElementRange piece_of_block(const Pieces& pieces) {
  if (pieces.list != nullptr) return pieces.list[blockIdx.x];
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kPieceElements;
  return {begin, min(begin + kPieceElements, pieces.size)};
}

struct WarpTotals {
  double of[kPieceThreads / kWarp];
};

/// The sum over the block, for thread 0. A barrier follows the last use of `totals` by others.
__device__ __forceinline__ double add_block(double x, WarpTotals& totals) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) x += __shfl_xor_sync(kFullWarp, x, distance);
  if (threadIdx.x % kWarp == 0) totals.of[threadIdx.x / kWarp] = x;
  __syncthreads();
  double total = 0.0;
  for (const double warp : totals.of) total += warp;
  return total;
}

}  // namespace ballast::cuda
