// Defines: RowCut, column_sums.
//
// Sums over the rows of [R, C], for gradients of per-column parameters. Rows are cut into blocks whose number depends
// on R alone; a block's sums are added in order by a second kernel, in f64. So the bits depend on the shape only,
// without atomics.
//
// Method: a block of 8 warps takes a range of rows and 32 N columns; lane l of warp w adds the N columns at 32 N
// blockIdx.x + N l of rows w, w + 8, ... of the range, and the warps are added in order through shared memory. Reads
// what Term reads once; the partial sums are at most 1 / 16 of an f32 tensor of the same shape, written and read once.
#pragma once

#include <algorithm>

#include "compute/cuda/queue.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

constexpr int kColumnWarps = 8;

/// R rows in `blocks` ranges of `length` (the last may be shorter).
struct RowCut {
  std::int64_t rows, length, blocks;

  explicit RowCut(std::int64_t all)
      : rows(all), length(std::max<std::int64_t>(64, ceil_div(all, 128))), blocks(ceil_div(all, length)) {}
};

template <int K, int N>
struct ColumnSumsShared {
  float sums[kColumnWarps][K * N][kWarp];
};

/// partials_(blocks)KC of what term(row, column, adds) puts into adds[K][N] for the N columns at `column`. Costs what
/// Term says.
template <int K, int N, class Term>
__global__ void __launch_bounds__(kColumnWarps* kWarp, 2)
    column_sums_kernel(RowCut cut, std::int64_t columns, Term term, float* partials) {
  auto& shared = block_shared<ColumnSumsShared<K, N>>();
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kWarp + lane) * N;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * cut.length;
  const std::int64_t end = min(first + cut.length, cut.rows);
  float sums[K][N] = {};
  if (column < columns) {
    for (std::int64_t row = first + warp; row < end; row += kColumnWarps) {
      float adds[K][N];
      term(row, column, adds);
      for (int k = 0; k < K; ++k)
        for (int i = 0; i < N; ++i) sums[k][i] += adds[k][i];
    }
  }
  for (int k = 0; k < K; ++k)
    for (int i = 0; i < N; ++i) shared.sums[warp][k * N + i][lane] = sums[k][i];
  __syncthreads();
  if (column >= columns) return;
  for (int entry = warp; entry < K * N; entry += kColumnWarps) {
    float sum = 0.0F;
    for (int w = 0; w < kColumnWarps; ++w) sum += shared.sums[w][entry][lane];
    partials[(blockIdx.y * K + entry / N) * columns + column + entry % N] = sum;
  }
}

/// finish(column, totals[K]) for every column, one thread each.
/// Cost of a partial sum: 4 bytes, 1 FLOP.
template <int K, class Finish>
__global__ void __launch_bounds__(128)
    finish_columns_kernel(std::int64_t blocks, std::int64_t columns, const float* partials, Finish finish) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  double totals[K] = {};
  for (std::int64_t block = 0; block < blocks; ++block)
    for (int k = 0; k < K; ++k) totals[k] += static_cast<double>(partials[(block * K + k) * columns + column]);
  finish(column, totals);
}

/// K sums per column over the rows of a [rows, columns] tensor, handed to `finish` in f64. Uses the queue's scratch.
template <int K, int N, class Term, class Finish>
void column_sums(Queue& queue, std::int64_t rows, std::int64_t columns, const Term& term, const Finish& finish,
                 float* partials) {
  const RowCut cut(rows);
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kWarp * N)), static_cast<unsigned>(cut.blocks));
  if (cut.blocks > 0) {
    launch(grid, kColumnWarps * kWarp, 0, queue.stream(), column_sums_kernel<K, N, Term>, cut, columns, term, partials);
  }
  launch(blocks_for(columns, 128), 128, 0, queue.stream(), finish_columns_kernel<K, Finish>, cut.blocks, columns,
         partials, finish);
}

}  // namespace ballast::cuda
