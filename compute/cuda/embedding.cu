// Token and position embedding and their gradients. B = samples, T = positions, R = B T, C = width, V = vocabulary.
//
// Forward: one thread per N columns of a row; per element 2 reads (tables are mostly in cache), 1 write, 1 FLOP.
// Gradient of the token table, without atomics or a sort: warp (g, c) owns the tokens v with v % G = g and 32 N
// columns. It reads all R tokens in order, 32 at a time, finds its own by a ballot, and adds their rows of dx in the
// order of rows, in registers while the token stays the same. G is 1024 or less, so frequent neighbours (low ids) fall
// to different warps. Reads each element of dx once; the scan is G ceil(C / 32 N) R tokens of 4 bytes from the second
// cache: 0.2 GB for R = 8192, C = 768, bf16. Rows of tokens that do not occur are not touched. Gradient of the position
// table: one thread per N columns of a position adds its samples in order; 1 read.
#include <algorithm>
#include <bit>

#include "compute/cuda/index_check.h"
#include "compute/cuda/layer_kernels.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr std::int64_t kMostGroups = 1024;

struct Sizes {
  std::int64_t rows, positions, width, vocabulary;
};

/// Cost of an element of x: 2e bytes, 1 FLOP.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(Sizes sizes, const std::int32_t* tokens, const T* token_VC, const T* position_TC, T* x_RC) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (at >= sizes.rows * sizes.width) return;
  const std::int64_t row = at / sizes.width;
  const std::int64_t column = at % sizes.width;
  const std::int64_t token = tokens[row];
  const bool known = token >= 0 && token < sizes.vocabulary;  // check_indices() reports the others
  float x[N], position[N];
  load_vector(token_VC + (known ? token : 0) * sizes.width + column, x);
  load_vector(position_TC + row % sizes.positions * sizes.width + column, position);
  for (int i = 0; i < N; ++i) x[i] += position[i];
  store_vector(x, x_RC + at);
}

/// Cost of an element of dx: e bytes, 1 FLOP.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) position_kernel(Sizes sizes, const T* dx_RC, float* dposition_TC) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  const std::int64_t plane = sizes.positions * sizes.width;
  if (at >= plane) return;
  float sums[N] = {}, old[N];
  for (std::int64_t from = at; from < sizes.rows * sizes.width; from += plane) {
    float dx[N];
    load_vector(dx_RC + from, dx);
    for (int i = 0; i < N; ++i) sums[i] += dx[i];
  }
  load_vector(dposition_TC + at, old);
  for (int i = 0; i < N; ++i) old[i] += sums[i];
  store_vector(old, dposition_TC + at);
}

/// The row of the token table that a warp adds to, N columns a lane. A lane past the last column has nothing.
template <int N>
struct TokenRow {
  float* dtoken_VC;
  std::int64_t width, column;
  std::int32_t token = -1;
  float sums[N];

  __device__ void write() const {
    if (token >= 0 && column < width) store_vector(sums, dtoken_VC + token * width + column);
  }
  __device__ void move_to(std::int32_t next) {
    if (next == token) return;
    write();
    token = next;
    if (column < width) load_vector(dtoken_VC + token * width + column, sums);
  }
};

/// Cost of an element of dx: at most e + 8 bytes, 1 FLOP.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    token_kernel(Sizes sizes, int groups, const std::int32_t* tokens, const T* dx_RC, float* dtoken_VC) {
  const int lane = threadIdx.x % kWarp;
  const int group = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (group >= groups) return;  // a whole warp, and there is no barrier
  TokenRow<N> own{dtoken_VC, sizes.width, (static_cast<std::int64_t>(blockIdx.y) * kWarp + lane) * N};
  for (std::int64_t first = 0; first < sizes.rows; first += kWarp) {
    const std::int64_t row = first + lane;
    const std::int32_t token = row < sizes.rows ? tokens[row] : -1;
    const bool mine = token >= 0 && token < sizes.vocabulary && token % groups == group;
    for (unsigned found = __ballot_sync(kFullWarp, mine); found != 0; found &= found - 1) {
      const int source = __ffs(static_cast<int>(found)) - 1;
      own.move_to(__shfl_sync(kFullWarp, token, source));
      if (own.column >= sizes.width) continue;
      float dx[N];
      load_vector(dx_RC + (first + source) * sizes.width + own.column, dx);
      for (int i = 0; i < N; ++i) own.sums[i] += dx[i];
    }
  }
  own.write();
}

Sizes sizes_of(std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens, ConstDeviceSpan token_table,
               ConstDeviceSpan position_table, ConstDeviceSpan x) {
  const std::int64_t rows = samples * positions;
  require(tokens.size == rows && tokens.dtype == DType::kI32, "embedding: tokens are not i32 [samples, positions]");
  require(x.size % rows == 0, "embedding: x is not [samples, positions, width]");
  const std::int64_t width = x.size / rows;
  require(width > 0 && token_table.size % width == 0, "embedding: the token table is not [vocabulary, width]");
  require(position_table.size >= positions * width, "embedding: the position table is shorter than [positions, width]");
  return {rows, positions, width, token_table.size / width};
}

void check_tokens(Queue& queue, ConstDeviceSpan tokens, std::int64_t vocabulary) {
  check_indices(queue, tokens, 0, vocabulary, [vocabulary](std::int32_t token) {
    return "token " + std::to_string(token) + " is outside the vocabulary of " + std::to_string(vocabulary) +
           ": check model.vocabulary against the data set";
  });
}

}  // namespace

void embedding(Queue& queue, std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
               ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x) {
  if (samples * positions == 0) return;
  const Sizes sizes = sizes_of(samples, positions, tokens, token_table, position_table, x);
  require(token_table.dtype == x.dtype && position_table.dtype == x.dtype,
          "embedding: the tables differ from x in type");
  check_tokens(queue, tokens, sizes.vocabulary);
  with_vectors(x.dtype, sizes.width, {token_table.data, position_table.data, x.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int N = decltype(vectors)::N;
    launch(blocks_for(x.size, kThreads * N), kThreads, 0, queue.stream(), forward_kernel<T, N>, sizes,
           numbers<std::int32_t>(tokens), numbers<T>(token_table), numbers<T>(position_table), numbers<T>(x));
  });
}

void embedding_backward(Queue& queue, std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                        ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table) {
  if (samples * positions == 0) return;
  const Sizes sizes = sizes_of(samples, positions, tokens, dtoken_table, dposition_table, dx);
  require(dtoken_table.dtype == DType::kF32 && dposition_table.dtype == DType::kF32,
          "embedding_backward: gradients of tables are f32");
  check_tokens(queue, tokens, sizes.vocabulary);
  const auto groups = static_cast<int>(
      std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(sizes.vocabulary, 1, kMostGroups))));
  with_vectors(dx.dtype, sizes.width, {dx.data, dtoken_table.data, dposition_table.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int N = decltype(vectors)::N;
    const dim3 grid(blocks_for(groups, kWarps).x, blocks_for(sizes.width, kWarp * N).x);
    launch(grid, kThreads, 0, queue.stream(), token_kernel<T, N>, sizes, groups, numbers<std::int32_t>(tokens),
           numbers<T>(dx), numbers<float>(dtoken_table));
    launch(blocks_for(sizes.positions * sizes.width, kThreads * N), kThreads, 0, queue.stream(), position_kernel<T, N>,
           sizes, numbers<T>(dx), numbers<float>(dposition_table));
  });
}

}  // namespace ballast::cuda
