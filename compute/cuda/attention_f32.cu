// Causal attention with f32 arithmetic, for f32 and for bf16 heads that tensor cores do not take: FlashAttention-2 (Dao
// 2023), see attention.h. T = positions, D = head width, up to 256, filled up with zeros to 64, 128 or 256.
//
// 64 threads a block, tiles of 32 queries by 32 keys: thread (y, x) of 8 x 8 makes the scores of rows 4 y + i and
// columns x + 8 j, and columns 4 x + 32 c + e of rows 4 y + i of the result. FLOPs per head: forward 2 T^2 D, backward
// 9 T^2 D (its three kernels each make the scores and dp again), on FMA units, two 16-byte reads of shared memory for 8
// FMA. From the second cache a head reads k and v once per 32 queries, half of them masked.
#include <cmath>

#include "compute/cuda/attention.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

namespace {

constexpr int kTile = 32;  ///< queries, and keys, of a tile
constexpr int kThreads = 64;
constexpr int kRows = 4;  ///< of a thread
constexpr int kSide = 8;  ///< threads that share a row

__device__ inline int thread_x() { return static_cast<int>(threadIdx.x) % kSide; }
__device__ inline int thread_y() { return static_cast<int>(threadIdx.x) / kSide; }

/// Rows of D numbers in shared memory; 16 bytes more keep neighbours on different banks.
template <int D>
struct alignas(16) Rows {
  float at[kTile][D + 4];
};
/// Scores or probabilities of a tile.
struct alignas(16) Scores {
  float at[kTile][kTile + 4];
};

/// Reads rows first, first + 1, ... of `width` elements; zeros past `end` and past the width.
template <int D, int N, class T>
__device__ inline void read_rows(const T* from, std::int64_t stride, std::int64_t width, std::int64_t first,
                                 std::int64_t end, Rows<D>& to) {
  for (int i = threadIdx.x; i < kTile * D / N; i += kThreads) {
    const int row = i / (D / N);
    const int column = i % (D / N) * N;
    float values[N] = {};
    if (first + row < end && column < width) load_vector(from + (first + row) * stride + column, values);
    for (int j = 0; j < N; ++j) to.at[row][column + j] = values[j];
  }
}

/// The scores that a thread holds.
struct OwnScores {
  float at[kRows][kTile / kSide];

  __device__ static int row(int i) { return thread_y() * kRows + i; }
  __device__ static int column(int j) { return thread_x() + kSide * j; }

  /// a b' over D.
  template <int D>
  __device__ void multiply(const Rows<D>& a, const Rows<D>& b) {
    for (auto& of_row : at)
      for (float& score : of_row) score = 0.0F;
    for (int d = 0; d < D; d += 4) {
      float4 left[kRows];
      for (int i = 0; i < kRows; ++i) left[i] = *reinterpret_cast<const float4*>(&a.at[row(i)][d]);
      for (int j = 0; j < kTile / kSide; ++j) {
        const float4 right = *reinterpret_cast<const float4*>(&b.at[column(j)][d]);
        for (int i = 0; i < kRows; ++i) {
          at[i][j] += left[i].x * right.x + left[i].y * right.y + left[i].z * right.z + left[i].w * right.w;
        }
      }
    }
  }

  __device__ void write(Scores& to) const {
    for (int i = 0; i < kRows; ++i)
      for (int j = 0; j < kTile / kSide; ++j) to.at[row(i)][column(j)] = at[i][j];
  }
};

/// The part of rows of D numbers that a thread adds up.
template <int D>
struct OwnRows {
  float at[kRows][D / kTile][4] = {};

  __device__ static int column(int c) { return thread_x() * 4 + kTile * c; }

  /// += p b.
  __device__ void add(const Scores& p, const Rows<D>& b) {
    for (int k = 0; k < kTile; ++k)
      for (int c = 0; c < D / kTile; ++c) {
        const float4 right = *reinterpret_cast<const float4*>(&b.at[k][column(c)]);
        for (int i = 0; i < kRows; ++i) {
          const float left = p.at[OwnScores::row(i)][k];
          at[i][c][0] += left * right.x;
          at[i][c][1] += left * right.y;
          at[i][c][2] += left * right.z;
          at[i][c][3] += left * right.w;
        }
      }
  }

  __device__ void scale_row(int i, float factor) {
    for (auto& piece : at[i])
      for (float& number : piece) number *= factor;
  }

  /// To rows first, first + 1, ... where they exist.
  template <class T>
  __device__ void write(T* to, std::int64_t stride, std::int64_t width, std::int64_t first, std::int64_t end) const {
    for (int i = 0; i < kRows; ++i)
      for (int c = 0; c < D / kTile; ++c)
        for (int e = 0; e < 4; ++e) {
          const std::int64_t row = first + OwnScores::row(i);
          if (row < end && column(c) + e < width) elements::assign(to[row * stride + column(c) + e], at[i][c][e]);
        }
  }
};

/// Over the threads that share a row.
__device__ inline float row_largest(float x) {
  for (int apart = kSide / 2; apart > 0; apart /= 2) x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, apart));
  return x;
}
__device__ inline float row_sum(float x) {
  for (int apart = kSide / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(kFullWarp, x, apart);
  return x;
}

/// Softmax of rows whose columns come in tiles.
struct RunningSoftmax {
  float top[kRows], total[kRows];

  __device__ RunningSoftmax() {
    for (int i = 0; i < kRows; ++i) {
      top[i] = -INFINITY;
      total[i] = 0.0F;
    }
  }

  /// scores -> exp(score - top); `out` is brought to the new top. Positions of the first query and key of the tile.
  template <int D>
  __device__ void take(OwnScores& scores, float scale, std::int64_t query, std::int64_t key, OwnRows<D>& out) {
    for (int i = 0; i < kRows; ++i) {
      float tile_top = top[i];
      for (int j = 0; j < kTile / kSide; ++j) {
        const bool masked = key + OwnScores::column(j) > query + OwnScores::row(i);
        scores.at[i][j] = masked ? -INFINITY : scores.at[i][j] * scale;
        tile_top = fmaxf(tile_top, scores.at[i][j]);
      }
      tile_top = row_largest(tile_top);
      const float factor = expf(top[i] - tile_top);
      top[i] = tile_top;
      total[i] *= factor;
      out.scale_row(i, factor);
      for (float& score : scores.at[i]) {
        score = expf(score - tile_top);
        total[i] += score;
      }
    }
  }
};

template <int D>
struct ForwardShared {
  Rows<D> q, keys;  ///< k, then v, of a tile
  Scores p;
};

/// Cost of a head: 4e T D bytes, 2 T^2 D + 2 T^2 FLOPs. Up to 71168 bytes of dynamic shared memory.
template <class T, int D, int N>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(AttentionShape shape, float scale, const T* qkv, T* y, float* log_sum_exp) {
  auto& shared = *dynamic_shared<ForwardShared<D>>();
  const HeadPlace head(shape, blockIdx.x);
  const std::int64_t positions = shape.positions, width = shape.head_width;
  const std::int64_t first = static_cast<std::int64_t>(gridDim.y - 1 - blockIdx.y) * kTile;  // the longest first
  read_rows<D, N>(qkv + head.q, head.qkv_stride, width, first, positions, shared.q);
  RunningSoftmax softmax;
  OwnRows<D> out;
  for (std::int64_t key = 0; key <= first; key += kTile) {
    read_rows<D, N>(qkv + head.k, head.qkv_stride, width, key, positions, shared.keys);
    __syncthreads();
    OwnScores scores;
    scores.multiply(shared.q, shared.keys);
    softmax.take(scores, scale, first, key, out);
    scores.write(shared.p);
    __syncthreads();
    read_rows<D, N>(qkv + head.v, head.qkv_stride, width, key, positions, shared.keys);
    __syncthreads();
    out.add(shared.p, shared.keys);
    __syncthreads();
  }
  for (int i = 0; i < kRows; ++i) {
    const float total = row_sum(softmax.total[i]);
    const std::int64_t row = first + OwnScores::row(i);
    out.scale_row(i, 1.0F / total);
    if (thread_x() == 0 && row < positions) log_sum_exp[head.row + row] = softmax.top[i] + logf(total);
  }
  out.write(y + head.y, head.y_stride, width, first, positions);
}

/// What backward works on: a pair of tiles of queries, one of keys, and the gradients of scores.
template <int D>
struct BackwardShared {
  Rows<D> q, dy, k, v;
  Scores p, ds;
};

/// Probabilities and the gradients of scores of one tile, from the rows in shared memory. `Queries` says whether rows
/// of the scores are queries (columns keys) or the other way round.
template <bool Queries, int D>
__device__ inline void score_gradients(const AttentionShape& shape, float scale, std::int64_t query, std::int64_t key,
                                       const float* log_sum_exp, const float* delta, BackwardShared<D>& shared) {
  OwnScores p, ds;
  p.multiply(Queries ? shared.q : shared.k, Queries ? shared.k : shared.q);
  ds.multiply(Queries ? shared.dy : shared.v, Queries ? shared.v : shared.dy);
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kTile / kSide; ++j) {
      const std::int64_t t = query + (Queries ? OwnScores::row(i) : OwnScores::column(j));
      const std::int64_t u = key + (Queries ? OwnScores::column(j) : OwnScores::row(i));
      const bool masked = u > t || t >= shape.positions;
      p.at[i][j] = masked ? 0.0F : expf(p.at[i][j] * scale - log_sum_exp[t]);
      ds.at[i][j] = masked ? 0.0F : p.at[i][j] * (ds.at[i][j] - delta[t]);
    }
  p.write(shared.p);
  ds.write(shared.ds);
}

/// dq of 32 queries.
/// Cost of a head: 5e T D bytes, 3 T^2 D + 2.5 T^2 FLOPs. Up to 142336 bytes of dynamic shared memory.
template <class T, int D, int N>
__global__ void __launch_bounds__(kThreads)
    query_gradient_kernel(AttentionShape shape, float scale, const T* qkv, const T* dy, const float* log_sum_exp,
                          const float* delta, T* dqkv) {
  auto& shared = *dynamic_shared<BackwardShared<D>>();
  const HeadPlace head(shape, blockIdx.x);
  const std::int64_t positions = shape.positions, width = shape.head_width;
  const std::int64_t first = static_cast<std::int64_t>(gridDim.y - 1 - blockIdx.y) * kTile;
  read_rows<D, N>(qkv + head.q, head.qkv_stride, width, first, positions, shared.q);
  read_rows<D, N>(dy + head.y, head.y_stride, width, first, positions, shared.dy);
  OwnRows<D> dq;
  for (std::int64_t key = 0; key <= first; key += kTile) {
    read_rows<D, N>(qkv + head.k, head.qkv_stride, width, key, positions, shared.k);
    read_rows<D, N>(qkv + head.v, head.qkv_stride, width, key, positions, shared.v);
    __syncthreads();
    score_gradients<true>(shape, scale, first, key, log_sum_exp + head.row, delta + head.row, shared);
    __syncthreads();
    dq.add(shared.ds, shared.k);
    __syncthreads();
  }
  for (int i = 0; i < kRows; ++i) dq.scale_row(i, scale);
  dq.write(dqkv + head.q, head.qkv_stride, width, first, positions);
}

/// dv of 32 keys where `Values`, else their dk: both at once would need more registers than there are where heads are
/// wide.
/// Cost of dk or dv of a head: 5e T D bytes, 3 T^2 D + 2.5 T^2 FLOPs. Up to 142336 bytes of dynamic shared memory.
template <class T, int D, int N, bool Values>
__global__ void __launch_bounds__(kThreads)
    key_gradient_kernel(AttentionShape shape, float scale, const T* qkv, const T* dy, const float* log_sum_exp,
                        const float* delta, T* dqkv) {
  auto& shared = *dynamic_shared<BackwardShared<D>>();
  const HeadPlace head(shape, blockIdx.x);
  const std::int64_t positions = shape.positions, width = shape.head_width;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kTile;
  read_rows<D, N>(qkv + head.k, head.qkv_stride, width, first, positions, shared.k);
  read_rows<D, N>(qkv + head.v, head.qkv_stride, width, first, positions, shared.v);
  OwnRows<D> gradient;
  for (std::int64_t query = first; query < positions; query += kTile) {
    read_rows<D, N>(qkv + head.q, head.qkv_stride, width, query, positions, shared.q);
    read_rows<D, N>(dy + head.y, head.y_stride, width, query, positions, shared.dy);
    __syncthreads();
    score_gradients<false>(shape, scale, query, first, log_sum_exp + head.row, delta + head.row, shared);
    __syncthreads();
    gradient.add(Values ? shared.p : shared.ds, Values ? shared.dy : shared.q);
    __syncthreads();
  }
  for (int i = 0; i < kRows && !Values; ++i) gradient.scale_row(i, scale);
  gradient.write(dqkv + (Values ? head.v : head.k), head.qkv_stride, width, first, positions);
}

/// Calls body(width that heads are filled up to, as a type; type and vectors of elements).
template <class Body>
void with_kernels(const AttentionShape& shape, DType dtype, std::initializer_list<const void*> addresses,
                  const Body& body) {
  require(shape.head_width <= 256, "attention: heads on CUDA have at most 256 elements");
  with_vectors(dtype, shape.head_width, addresses, [&](auto vectors) {
    if (shape.head_width <= 64) return body(std::integral_constant<int, 64>(), vectors);
    if (shape.head_width <= 128) return body(std::integral_constant<int, 128>(), vectors);
    body(std::integral_constant<int, 256>(), vectors);
  });
}

float scale_of(const AttentionShape& shape) { return 1.0F / std::sqrt(static_cast<float>(shape.head_width)); }

}  // namespace

void attention_f32(Queue& queue, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, float* log_sum_exp) {
  with_kernels(shape, y.dtype, {qkv.data}, [&](auto width, auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int D = decltype(width)::value;
    launch_tiles(queue, shape, kTile, kThreads, sizeof(ForwardShared<D>), forward_kernel<T, D, decltype(vectors)::N>,
                 shape, scale_of(shape), numbers<T>(qkv), numbers<T>(y), log_sum_exp);
  });
}

void attention_backward_f32(Queue& queue, const AttentionShape& shape, const AttentionGradients& t) {
  with_kernels(shape, t.qkv.dtype, {t.qkv.data, t.dy.data}, [&](auto width, auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int D = decltype(width)::value;
    constexpr int N = decltype(vectors)::N;
    const auto run = [&](auto kernel) {
      launch_tiles(queue, shape, kTile, kThreads, sizeof(BackwardShared<D>), kernel, shape, scale_of(shape),
                   numbers<T>(t.qkv), numbers<T>(t.dy), t.log_sum_exp, t.delta, numbers<T>(t.dqkv));
    };
    run(query_gradient_kernel<T, D, N>);
    run(key_gradient_kernel<T, D, N, false>);
    run(key_gradient_kernel<T, D, N, true>);
  });
}

}  // namespace ballast::cuda
