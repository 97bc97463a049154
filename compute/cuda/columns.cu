// Defines: bias_backward: sums over rows.
//
// Two kernels: blocks of 128 rows are added in f32, then the blocks' sums in f64, in the order of the rows. So the
// order follows from the number of rows alone. dy is read once; the partial sums are 1/64 (bf16) of its bytes, twice.
#include "compute/cuda/kernels.h"
#include "compute/cuda/prelude.h"
#include "compute/cuda/runs.h"

namespace ballast::cuda {

namespace {

constexpr int kRun = 8;               // columns of a thread
constexpr int kWidth = kRun * kWarp;  // columns of a block
constexpr int kHeight = 8;            // rows that a block reads at once
constexpr int kRows = 128;            // rows that a block adds
constexpr int kThreads = 256;

struct alignas(16) Sums {
  float of[kHeight][kWidth];
};

/// partials[blockIdx.x] = sums over this block's rows of columns [kWidth blockIdx.y, + kWidth). Thread (x, y) adds
/// every eighth row from row y; those eight sums are added in order.
/// Cost of an element: e bytes, 1 FLOP.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_rows(std::int64_t rows, std::int64_t columns, bool aligned, const T* x, float* partials) {
  auto& sums = block_shared<Sums>();
  const std::int64_t left = static_cast<std::int64_t>(blockIdx.y) * kWidth;
  const std::int64_t column = left + threadIdx.x * kRun;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kRows;
  const std::int64_t end = min(begin + kRows, rows);
  float total[kRun] = {};
  for (std::int64_t row = begin + threadIdx.y; row < end; row += kHeight) {
    float values[kRun];
    load_run(x + row * columns + column, columns - column, aligned, values);
#pragma unroll
    for (int i = 0; i < kRun; ++i) total[i] += values[i];
  }
  store_run(total, kRun, true, sums.of[threadIdx.y] + threadIdx.x * kRun);
  __syncthreads();
  const int mine = static_cast<int>(threadIdx.y) * kWarp + static_cast<int>(threadIdx.x);
  float sum = sums.of[0][mine];
#pragma unroll
  for (int y = 1; y < kHeight; ++y) sum += sums.of[y][mine];
  if (left + mine < columns) partials[blockIdx.x * columns + left + mine] = sum;
}

/// sums_C += the rows of partials.
/// Cost of a partial sum: 4 bytes, 1 FLOP.
__global__ void __launch_bounds__(kThreads)
    add_partials(std::int64_t blocks, std::int64_t columns, const float* partials, float* sums) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= columns) return;
  double total = 0.0;
  for (std::int64_t block = 0; block < blocks; ++block)
    total += static_cast<double>(partials[block * columns + column]);
  sums[column] += static_cast<float>(total);
}

template <class T>
void run(Queue& queue, std::int64_t rows, std::int64_t columns, ConstDeviceSpan dy, float* partials) {
  dim3 grid = blocks_for(rows, kRows);
  grid.y = blocks_for(columns, kWidth).x;
  launch(grid, dim3(kWarp, kHeight), 0, queue.stream(), add_rows<T>, rows, columns,
         columns % kRun == 0 && all_aligned({dy.data}), static_cast<const T*>(dy.data), partials);
}

}  // namespace

void bias_backward(Queue& queue, std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias) {
  const std::int64_t columns = dbias.size;
  require(dy.size == rows * columns && dbias.dtype == DType::kF32, "bias_backward: dy is not [rows, dbias]");
  if (dy.empty()) return;
  const std::int64_t blocks = (rows + kRows - 1) / kRows;
  auto* const partials = static_cast<float*>(queue.scratch(blocks * columns * size_of(DType::kF32)));
  if (dy.dtype == DType::kBF16) {
    run<Bf16>(queue, rows, columns, dy, partials);
  } else {
    run<float>(queue, rows, columns, dy, partials);
  }
  launch(blocks_for(columns, kThreads), kThreads, 0, queue.stream(), add_partials, blocks, columns, partials,
         static_cast<float*>(dbias.data));
}

}  // namespace ballast::cuda
