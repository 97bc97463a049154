// Causal attention in bf16 on tensor cores: FlashAttention-2 (Dao 2023), see attention.h. T = positions, D = head
// width.
//
// 4 warps a block, a warp owns 16 of 64 rows (queries, or keys for dk and dv); tiles come by cp.async while the tile
// before is worked on, matrices by ldmatrix. Heads narrower than 32, 64 or 128 are filled up with zeros. FLOPs per
// head: forward 2 T^2 D, backward 7 T^2 D (2 products of it to make scores and dp again). From the second cache a head
// reads 4 D T^2 / 128 bytes in forward (k and v once per 64 queries, half of them masked) and twice that in backward.
#include <cmath>

#include "compute/cuda/attention.h"
#include "compute/cuda/tensor_tiles.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

namespace {

constexpr int kKeys = 64;  ///< of a tile that a block of queries works with

/// Rows g and g + 8 of the tile of this lane's warp.
__device__ inline int own_row() { return static_cast<int>(threadIdx.x) / kWarp * 16 + threadIdx.x % kWarp / 4; }
/// The column of entry [n][i] of an accumulator, and what row it is in: own_row() + 8 (i / 2).
__device__ inline int own_column(int n, int i) { return n * 8 + threadIdx.x % 4 * 2 + i % 2; }

__device__ inline int first_row_of_warp() { return static_cast<int>(threadIdx.x) / kWarp * 16; }

/// The largest or the sum over the four lanes that hold a row.
__device__ inline float row_largest(float x) {
  x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, 1));
  return fmaxf(x, __shfl_xor_sync(kFullWarp, x, 2));
}
__device__ inline float row_sum(float x) {
  x += __shfl_xor_sync(kFullWarp, x, 1);
  return x + __shfl_xor_sync(kFullWarp, x, 2);
}

/// Softmax of rows g and g + 8 of which the columns come in tiles.
struct RunningSoftmax {
  float top[2] = {-INFINITY, -INFINITY};
  float total[2] = {};  ///< of this lane's columns

  /// scores -> exp(score - top); `out` is brought to the new top. `query` is the position of row g, `key` of column 0.
  template <int Tiles>
  __device__ void take(float (&scores)[kKeys / 8][4], float scale, std::int64_t query, std::int64_t key,
                       float (&out)[Tiles][4]) {
    float tile_top[2] = {top[0], top[1]};
    for (int n = 0; n < kKeys / 8; ++n)
      for (int i = 0; i < 4; ++i) {
        const bool masked = key + own_column(n, i) > query + i / 2 * 8;
        scores[n][i] = masked ? -INFINITY : scores[n][i] * scale;
        tile_top[i / 2] = fmaxf(tile_top[i / 2], scores[n][i]);
      }
    for (int half = 0; half < 2; ++half) {
      tile_top[half] = row_largest(tile_top[half]);
      const float factor = __expf(top[half] - tile_top[half]);
      top[half] = tile_top[half];
      total[half] *= factor;
      for (int n = 0; n < Tiles; ++n) {
        out[n][2 * half] *= factor;
        out[n][2 * half + 1] *= factor;
      }
    }
    for (int n = 0; n < kKeys / 8; ++n)
      for (int i = 0; i < 4; ++i) {
        scores[n][i] = __expf(scores[n][i] - top[i / 2]);
        total[i / 2] += scores[n][i];
      }
  }
};

template <int D>
struct ForwardShared {
  Tile<kTileRows, D> q;
  Tile<kKeys, D> k, v;
};

/// Cost of a head: 8 T D bytes, 2 T^2 D + 2 T^2 FLOPs. Up to 52224 bytes of dynamic shared memory.
template <int D>
__global__ void __launch_bounds__(kTileThreads)
    forward_kernel(AttentionShape shape, float scale, const Bf16* qkv, Bf16* y, float* log_sum_exp) {
  auto& shared = *dynamic_shared<ForwardShared<D>>();
  const HeadPlace head(shape, blockIdx.x);
  const std::int64_t positions = shape.positions, width = shape.head_width;
  const std::int64_t first = static_cast<std::int64_t>(gridDim.y - 1 - blockIdx.y) * kTileRows;  // the longest first
  const std::int64_t query = first + own_row();
  const std::int64_t keys = min(first + kTileRows, positions);
  copy_tile(qkv + head.q, head.qkv_stride, width, first, positions, shared.q);
  copy_tile(qkv + head.k, head.qkv_stride, width, 0, positions, shared.k);
  copy_async_commit();
  RunningSoftmax softmax;
  float out[D / 8][4] = {};
  for (std::int64_t key = 0; key < keys; key += kKeys) {
    copy_tile(qkv + head.v, head.qkv_stride, width, key, positions, shared.v);
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    float scores[kKeys / 8][4] = {};
    multiply_rows<kKeys, D>(shared.q.row(first_row_of_warp()), shared.k.at, scores);
    __syncthreads();
    if (key + kKeys < keys) copy_tile(qkv + head.k, head.qkv_stride, width, key + kKeys, positions, shared.k);
    copy_async_commit();
    softmax.take(scores, scale, query, key, out);
    copy_async_wait<1>();
    __syncthreads();
    multiply_columns<kKeys, D>(scores, shared.v.at, out);
    __syncthreads();
  }
  const float total = row_sum(softmax.total[0]), total_8 = row_sum(softmax.total[1]);
  const std::int64_t own = first + first_row_of_warp();
  store_rows<D>(out, 1.0F / total, 1.0F / total_8, shared.q.row(first_row_of_warp()), y + head.y + own * head.y_stride,
                head.y_stride, width, positions - own);
  if (threadIdx.x % 4 != 0) return;
  if (query < positions) log_sum_exp[head.row + query] = softmax.top[0] + __logf(total);
  if (query + 8 < positions) log_sum_exp[head.row + query + 8] = softmax.top[1] + __logf(total_8);
}

template <int D>
struct QueryShared {
  Tile<kTileRows, D> q, dy;
  Tile<kKeys, D> k, v;
};

/// dq of 64 queries.
/// Cost of a head: 10 T D bytes, 3 T^2 D + 2.5 T^2 FLOPs. Up to 69632 bytes of dynamic shared memory.
template <int D>
__global__ void __launch_bounds__(kTileThreads)
    query_gradient_kernel(AttentionShape shape, float scale, const Bf16* qkv, const Bf16* dy, const float* log_sum_exp,
                          const float* delta, Bf16* dqkv) {
  auto& shared = *dynamic_shared<QueryShared<D>>();
  const HeadPlace head(shape, blockIdx.x);
  const std::int64_t positions = shape.positions, width = shape.head_width;
  const std::int64_t first = static_cast<std::int64_t>(gridDim.y - 1 - blockIdx.y) * kTileRows;
  const std::int64_t query = first + own_row();
  const std::int64_t keys = min(first + kTileRows, positions);
  copy_tile(qkv + head.q, head.qkv_stride, width, first, positions, shared.q);
  copy_tile(dy + head.y, head.y_stride, width, first, positions, shared.dy);
  copy_tile(qkv + head.k, head.qkv_stride, width, 0, positions, shared.k);
  copy_tile(qkv + head.v, head.qkv_stride, width, 0, positions, shared.v);
  copy_async_commit();
  float shift[2], dot[2];
  for (int half = 0; half < 2; ++half) {
    const std::int64_t row = query + 8 * half;
    shift[half] = row < positions ? log_sum_exp[head.row + row] : INFINITY;
    dot[half] = row < positions ? delta[head.row + row] : 0.0F;
  }
  float dq[D / 8][4] = {};
  for (std::int64_t key = 0; key < keys; key += kKeys) {
    const bool more = key + kKeys < keys;
    copy_async_wait<0>();
    __syncthreads();
    float dp[kKeys / 8][4] = {}, scores[kKeys / 8][4] = {};
    multiply_rows<kKeys, D>(shared.dy.row(first_row_of_warp()), shared.v.at, dp);
    __syncthreads();
    if (more) copy_tile(qkv + head.v, head.qkv_stride, width, key + kKeys, positions, shared.v);
    multiply_rows<kKeys, D>(shared.q.row(first_row_of_warp()), shared.k.at, scores);
    for (int n = 0; n < kKeys / 8; ++n)
      for (int i = 0; i < 4; ++i) {
        const bool masked = key + own_column(n, i) > query + i / 2 * 8;
        const float p = masked ? 0.0F : __expf(scores[n][i] * scale - shift[i / 2]);
        scores[n][i] = p * (dp[n][i] - dot[i / 2]);
      }
    multiply_columns<kKeys, D>(scores, shared.k.at, dq);
    __syncthreads();
    if (more) copy_tile(qkv + head.k, head.qkv_stride, width, key + kKeys, positions, shared.k);
    copy_async_commit();
  }
  const std::int64_t own = first + first_row_of_warp();
  store_rows<D>(dq, scale, scale, shared.q.row(first_row_of_warp()), dqkv + head.q + own * head.qkv_stride,
                head.qkv_stride, width, positions - own);
}

/// Queries of a tile that a block of keys works with: registers bound them where heads are wide.
template <int D>
inline constexpr int kQueries = D > 64 ? 32 : 64;

/// A tile of queries with what belongs to it.
template <int D>
struct QueryTile {
  Tile<kQueries<D>, D> q, dy;
  float log_sum_exp[kQueries<D>], delta[kQueries<D>];

  __device__ void copy(const AttentionShape& shape, const HeadPlace& head, const Bf16* qkv, const Bf16* dys,
                       const float* log_sum_exps, const float* deltas, std::int64_t first) {
    copy_tile(qkv + head.q, head.qkv_stride, shape.head_width, first, shape.positions, q);
    copy_tile(dys + head.y, head.y_stride, shape.head_width, first, shape.positions, dy);
    const int i = threadIdx.x;
    if (i >= kQueries<D>) return;
    const bool exists = first + i < shape.positions;
    log_sum_exp[i] = exists ? log_sum_exps[head.row + first + i] : INFINITY;
    delta[i] = exists ? deltas[head.row + first + i] : 0.0F;
  }
};

template <int D>
struct KeyShared {
  Tile<kTileRows, D> k, v;
  QueryTile<D> queries[2];
};

/// dk and dv of 64 keys. Products are transposed: rows are keys, columns are queries.
/// Cost of a head: 12 T D bytes, 4 T^2 D + 2.5 T^2 FLOPs. Up to 70144 bytes of dynamic shared memory.
template <int D>
__global__ void __launch_bounds__(kTileThreads)
    key_gradient_kernel(AttentionShape shape, float scale, const Bf16* qkv, const Bf16* dy, const float* log_sum_exp,
                        const float* delta, Bf16* dqkv) {
  constexpr int Q = kQueries<D>;
  auto& shared = *dynamic_shared<KeyShared<D>>();
  const HeadPlace head(shape, blockIdx.x);
  const std::int64_t positions = shape.positions, width = shape.head_width;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * kTileRows;  // the longest first
  const std::int64_t key = first + own_row();
  copy_tile(qkv + head.k, head.qkv_stride, width, first, positions, shared.k);
  copy_tile(qkv + head.v, head.qkv_stride, width, first, positions, shared.v);
  shared.queries[0].copy(shape, head, qkv, dy, log_sum_exp, delta, first);
  copy_async_commit();
  float dk[D / 8][4] = {}, dv[D / 8][4] = {};
  int stage = 0;
  for (std::int64_t query = first; query < positions; query += Q, stage = 1 - stage) {
    if (query + Q < positions) {
      shared.queries[1 - stage].copy(shape, head, qkv, dy, log_sum_exp, delta, query + Q);
    }
    copy_async_commit();
    copy_async_wait<1>();
    __syncthreads();
    const QueryTile<D>& tile = shared.queries[stage];
    float p[Q / 8][4] = {}, ds[Q / 8][4] = {};
    multiply_rows<Q, D>(shared.k.row(first_row_of_warp()), tile.q.at, p);
    for (int n = 0; n < Q / 8; ++n)
      for (int i = 0; i < 4; ++i) {
        const int column = own_column(n, i);
        const bool masked = key + i / 2 * 8 > query + column;
        p[n][i] = masked ? 0.0F : __expf(p[n][i] * scale - tile.log_sum_exp[column]);
      }
    multiply_columns<Q, D>(p, tile.dy.at, dv);
    multiply_rows<Q, D>(shared.v.row(first_row_of_warp()), tile.dy.at, ds);
    for (int n = 0; n < Q / 8; ++n)
      for (int i = 0; i < 4; ++i) ds[n][i] = p[n][i] * (ds[n][i] - tile.delta[own_column(n, i)]);
    multiply_columns<Q, D>(ds, tile.q.at, dk);
    __syncthreads();
  }
  const std::int64_t own = first + first_row_of_warp();
  const std::int64_t offset = own * head.qkv_stride;
  store_rows<D>(dk, scale, scale, shared.k.row(first_row_of_warp()), dqkv + head.k + offset, head.qkv_stride, width,
                positions - own);
  store_rows<D>(dv, 1.0F, 1.0F, shared.v.row(first_row_of_warp()), dqkv + head.v + offset, head.qkv_stride, width,
                positions - own);
}

/// Calls body with the width that heads are filled up to, as a type.
template <class Body>
void with_width(std::int64_t width, const Body& body) {
  if (width <= 32) return body(std::integral_constant<int, 32>());
  if (width <= 64) return body(std::integral_constant<int, 64>());
  body(std::integral_constant<int, 128>());
}

float scale_of(const AttentionShape& shape) { return 1.0F / std::sqrt(static_cast<float>(shape.head_width)); }

}  // namespace

bool fits_tensor_cores(const AttentionShape& shape, std::initializer_list<const void*> addresses) {
  std::uintptr_t bits = 0;
  for (const void* address : addresses) bits |= reinterpret_cast<std::uintptr_t>(address);
  return shape.head_width % 8 == 0 && shape.head_width <= 128 && bits % 16 == 0;
}

void attention_bf16(Queue& queue, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, float* log_sum_exp) {
  with_width(shape.head_width, [&](auto width) {
    constexpr int D = decltype(width)::value;
    launch_tiles(queue, shape, kTileRows, kTileThreads, sizeof(ForwardShared<D>), forward_kernel<D>, shape,
                 scale_of(shape), numbers<Bf16>(qkv), numbers<Bf16>(y), log_sum_exp);
  });
}

void attention_backward_bf16(Queue& queue, const AttentionShape& shape, const AttentionGradients& t) {
  with_width(shape.head_width, [&](auto width) {
    constexpr int D = decltype(width)::value;
    launch_tiles(queue, shape, kTileRows, kTileThreads, sizeof(QueryShared<D>), query_gradient_kernel<D>, shape,
                 scale_of(shape), numbers<Bf16>(t.qkv), numbers<Bf16>(t.dy), t.log_sum_exp, t.delta,
                 numbers<Bf16>(t.dqkv));
    launch_tiles(queue, shape, kTileRows, kTileThreads, sizeof(KeyShared<D>), key_gradient_kernel<D>, shape,
                 scale_of(shape), numbers<Bf16>(t.qkv), numbers<Bf16>(t.dy), t.log_sum_exp, t.delta,
                 numbers<Bf16>(t.dqkv));
  });
}

}  // namespace ballast::cuda
