// Defines: Tile, copy_tile, multiply_rows, multiply_columns, store_rows: tiles in bf16 and their products on tensor
// cores.
//
// A tile is rows of D elements in shared memory, D + 8 apart: the 16 bytes more let the 8 rows of a matrix come from
// different banks. A block has 4 warps; a warp owns 16 rows of a product. How fragments of mma_m16n8k16 lie: with g =
// lane / 4 and t = lane % 4, an accumulator holds columns 2t and 2t + 1 of row g in [0] and [1], and of row g + 8 in
// [2] and [3].
#pragma once

#include <cstdint>
#include <cstring>

#include "compute/cuda/prelude.h"

namespace ballast::cuda {

constexpr int kTileWarps = 4;
constexpr int kTileThreads = kTileWarps * kWarp;
constexpr int kTileRows = 16 * kTileWarps;  ///< rows that a block owns

template <int Rows, int D>
struct alignas(16) Tile {
  static constexpr int kStride = D + 8;
  Bf16 at[Rows * kStride];

  __device__ Bf16* row(int r) { return at + r * kStride; }
  __device__ const Bf16* row(int r) const { return at + r * kStride; }
};

/// Starts copying rows first, first + 1, ... of `width` elements, `stride` apart; zeros past `end` and past the width.
/// The caller commits.
template <int Rows, int D>
__device__ inline void copy_tile(const Bf16* from, std::int64_t stride, std::int64_t width, std::int64_t first,
                                 std::int64_t end, Tile<Rows, D>& tile) {
  constexpr int kPieces = D / 8;
  for (int i = threadIdx.x; i < Rows * kPieces; i += kTileThreads) {
    const int row = i / kPieces;
    const int column = i % kPieces * 8;
    Bf16* to = tile.row(row) + column;
    if (first + row < end && column < width) {
      copy_async_16(to, from + (first + row) * stride + column);
    } else {
      *reinterpret_cast<uint4*>(to) = uint4{0, 0, 0, 0};
    }
  }
}

/// d_16N += a b' over D, for 16 rows of a and N rows of b.
template <int N, int D>
__device__ inline void multiply_rows(const Bf16* a, const Bf16* b, float (&d)[N / 8][4]) {
  constexpr int kStride = D + 8;
  const int lane = threadIdx.x % kWarp;
  const Bf16* a_row = a + lane % 16 * kStride + lane / 16 * 8;
  const Bf16* b_row = b + (lane / 16 * 8 + lane % 8) * kStride + lane / 8 % 2 * 8;
  for (int k = 0; k < D; k += 16) {
    std::uint32_t of_a[4];
    load_matrix_x4(of_a, a_row + k);
    for (int n = 0; n < N; n += 16) {
      std::uint32_t of_b[4];
      load_matrix_x4(of_b, b_row + n * kStride + k);
      mma_m16n8k16(d[n / 8], of_a, {of_b[0], of_b[1]});
      mma_m16n8k16(d[n / 8 + 1], of_a, {of_b[2], of_b[3]});
    }
  }
}

__device__ inline std::uint32_t bf16_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t bits;
  std::memcpy(&bits, &pair, sizeof bits);
  return bits;
}

/// d_16D += p b for p_16N, rounded to bf16, and N rows of b. Accumulators lie as the left factor of a product must.
template <int N, int D>
__device__ inline void multiply_columns(const float (&p)[N / 8][4], const Bf16* b, float (&d)[D / 8][4]) {
  constexpr int kStride = D + 8;
  const int lane = threadIdx.x % kWarp;
  const Bf16* b_row = b + lane % 16 * kStride + lane / 16 * 8;
  for (int k = 0; k < N; k += 16) {
    const float(&left)[4] = p[k / 8];
    const float(&right)[4] = p[k / 8 + 1];
    const std::uint32_t of_p[4] = {bf16_pair(left[0], left[1]), bf16_pair(left[2], left[3]),
                                   bf16_pair(right[0], right[1]), bf16_pair(right[2], right[3])};
    for (int n = 0; n < D; n += 16) {
      std::uint32_t of_b[4];
      load_matrix_x4_transposed(of_b, b_row + k * kStride + n);
      mma_m16n8k16(d[n / 8], of_p, {of_b[0], of_b[1]});
      mma_m16n8k16(d[n / 8 + 1], of_p, {of_b[2], of_b[3]});
    }
  }
}

/// Writes the 16 rows of a warp, times the factors of rows g and g + 8, through 16 rows of shared memory that only this
/// warp uses. `rows` of them exist.
template <int D>
__device__ inline void store_rows(const float (&d)[D / 8][4], float factor, float factor_8, Bf16* shared, Bf16* to,
                                  std::int64_t stride, std::int64_t width, std::int64_t rows) {
  constexpr int kStride = D + 8;
  constexpr int kPieces = D / 8;
  const int lane = threadIdx.x % kWarp;
  Bf16* pair = shared + lane / 4 * kStride + lane % 4 * 2;
  __syncwarp();
  for (int n = 0; n < D / 8; ++n) {
    *reinterpret_cast<std::uint32_t*>(pair + n * 8) = bf16_pair(d[n][0] * factor, d[n][1] * factor);
    *reinterpret_cast<std::uint32_t*>(pair + n * 8 + 8 * kStride) = bf16_pair(d[n][2] * factor_8, d[n][3] * factor_8);
  }
  __syncwarp();
  for (int i = lane; i < 16 * kPieces; i += kWarp) {
    const int row = i / kPieces;
    const int column = i % kPieces * 8;
    if (row >= rows || column >= width) continue;
    *reinterpret_cast<uint4*>(to + row * stride + column) =
        *reinterpret_cast<const uint4*>(shared + row * kStride + column);
  }
}

}  // namespace ballast::cuda
