// Forward holds the scores of one block of queries against all keys that it may see. Backward holds the scores of one
// block of queries against one block of keys, so that all that it works on stays in the second cache: it adds up dk
// and dv of a block of keys, and dq of the whole head, in f32. Axes: T = positions, D = head width, Q = queries of a
// block, N = keys that a block of queries works with.
#include "compute/cpu/attention_bf16.h"

#include <algorithm>
#include <cmath>

#include "compute/cpu/attention_head.h"
#include "compute/cpu/bf16_gemm.h"
#include "compute/cpu/bf16_rows.h"

namespace ballast {

namespace {

constexpr std::int64_t kQueries = 64;
constexpr std::int64_t kKeys = 256;          ///< of a block of backward
constexpr std::int64_t kTasks = 8;           ///< forward cuts heads where there are fewer of them
constexpr std::int64_t kLeastQueries = 256;  ///< of a task: it packs all the keys and values that it sees
constexpr std::int64_t kStridePadding = 16;  ///< keeps rows of a power of two from sharing the sets of a cache

const Bf16* numbers(ConstDeviceSpan x) { return static_cast<const Bf16*>(x.data); }
Bf16* numbers(DeviceSpan x) { return static_cast<Bf16*>(x.data); }

Bf16Operand rows_of(const Bf16* data, std::int64_t stride) { return {data, stride, false}; }
Bf16Operand columns_of(const Bf16* data, std::int64_t stride) { return {data, stride, true}; }

GemmOutput to_f32(float* c, std::int64_t stride, bool accumulate) {
  return {.addend = accumulate ? c : nullptr, .addend_stride = stride, .c = c, .c_stride = stride};
}

/// Queries [begin, end) of one head.
struct Forward {
  const Head& head;
  ConstDeviceSpan qkv;
  DeviceSpan y;
  float* log_sum_exp_T;

  void run(ScratchPool& pool, std::int64_t begin, std::int64_t end) const;
};

void Forward::run(ScratchPool& pool, std::int64_t begin, std::int64_t end) const {
  const std::int64_t d = head.width;
  const std::int64_t apart = 3 * head.channels;
  const std::int64_t stride = (end + 15) / 16 * 16 + kStridePadding;
  const std::int64_t k_size = packed_columns_size(end, d);
  const std::int64_t v_size = packed_columns_size(d, end);
  const std::int64_t rows_size = packed_rows_size(kQueries, std::max(d, end));
  auto scratch = pool.lend(4 * stride * kQueries + 2 * (stride * kQueries + k_size + v_size + rows_size) +
                           4 * kQueries * (d + 2) + 512);
  Bf16* const keys_packed = scratch.take<Bf16>(k_size);
  Bf16* const values_packed = scratch.take<Bf16>(v_size);
  Bf16* const rows_packed = scratch.take<Bf16>(rows_size);
  float* const s_QN = scratch.take<float>(stride * kQueries);
  Bf16* const p_QN = scratch.take<Bf16>(stride * kQueries);
  float* const y_QD = scratch.take<float>(kQueries * d);
  float* const tops_Q = scratch.take<float>(kQueries);
  float* const factors_Q = scratch.take<float>(kQueries);
  pack_columns(end, d, columns_of(numbers(head.of_qkv(qkv, 1)), apart), keys_packed);
  pack_columns(d, end, rows_of(numbers(head.of_qkv(qkv, 2)), apart), values_packed);
  const Bf16* const q_TD = numbers(head.of_qkv(qkv, 0));
  for (std::int64_t first = begin; first < end; first += kQueries) {
    const std::int64_t queries = std::min(kQueries, end - first);
    const std::int64_t keys = first + queries;
    pack_rows(queries, d, rows_of(q_TD + first * apart, apart), rows_packed);
    multiply_packed({queries, keys, d, rows_packed, keys_packed, d, Unneeded::kLateColumns, first},
                    to_f32(s_QN, stride, false));
    softmax_rows_bf16({queries, keys, first, stride, head.scale()}, s_QN, p_QN, tops_Q, factors_Q);
    for (std::int64_t r = 0; r < queries; ++r) {
      log_sum_exp_T[first + r] = head.scale() * tops_Q[r] + std::log(factors_Q[r]);
      factors_Q[r] = 1.0F / factors_Q[r];
    }
    pack_rows(queries, keys, rows_of(p_QN, stride), rows_packed);
    multiply_packed({queries, d, keys, rows_packed, values_packed, end, Unneeded::kLateK, first},
                    to_f32(y_QD, d, false));
    round_rows_bf16(queries, d, y_QD, factors_Q, 1.0F, numbers(head.of_y(y, first)), head.channels);
  }
}

/// With p = softmax rows, D_i = y_i dy_i': dv = p' dy; ds = p (dy v' - D); dq = ds k / sqrt(D); dk = ds' q / sqrt(D).
class Backward {
 public:
  Backward(const Head& head, ConstDeviceSpan qkv, ConstDeviceSpan dy, const float* log_sum_exp, ScratchPool& pool);
  void run(ConstDeviceSpan y, DeviceSpan dqkv);

 private:
  static std::int64_t bytes(const Head& head);
  void start_keys(std::int64_t first_key, std::int64_t keys);
  void add_queries(std::int64_t first_key, std::int64_t first, std::int64_t queries, std::int64_t keys);

  const Head& head_;
  const std::int64_t d_, t_, apart_;
  const Bf16 *q_TD_, *k_TD_, *v_TD_, *dy_TD_;
  const float* log_sum_exp_T_;
  ScratchPool::Lease scratch_;
  float *dq_TD_, *dk_ND_, *dv_ND_, *s_QN_, *dp_QN_, *dots_T_;
  Bf16 *p_QN_, *ds_QN_;
  Bf16 *k_columns_, *v_columns_, *k_rows_;  ///< of a block of keys: k' and v' are multiplied with, and k
  Bf16 *columns_, *rows_;                   ///< what is multiplied next
  std::int64_t packed_keys_ = 0;
};

constexpr std::int64_t kStride = kKeys + kStridePadding;

std::int64_t Backward::bytes(const Head& head) {
  const std::int64_t d = head.width;
  return 4 * (head.positions * (d + 1) + 2 * kKeys * d + 2 * kQueries * kStride) + 4 * kQueries * kStride +
         2 * (2 * packed_columns_size(kKeys, d) + packed_columns_size(d, kKeys) + packed_columns_size(d, kQueries) +
              packed_rows_size(kKeys, std::max(kQueries, d))) +
         2 * packed_rows_size(kQueries, std::max(kKeys, d)) + 1024;
}

Backward::Backward(const Head& head, ConstDeviceSpan qkv, ConstDeviceSpan dy, const float* log_sum_exp,
                   ScratchPool& pool)
    : head_(head),
      d_(head.width),
      t_(head.positions),
      apart_(3 * head.channels),
      q_TD_(numbers(head.of_qkv(qkv, 0))),
      k_TD_(numbers(head.of_qkv(qkv, 1))),
      v_TD_(numbers(head.of_qkv(qkv, 2))),
      dy_TD_(numbers(head.of_y(dy, 0))),
      log_sum_exp_T_(log_sum_exp),
      scratch_(pool.lend(bytes(head))) {
  dq_TD_ = scratch_.take<float>(t_ * d_);
  dots_T_ = scratch_.take<float>(t_);
  dk_ND_ = scratch_.take<float>(kKeys * d_);
  dv_ND_ = scratch_.take<float>(kKeys * d_);
  s_QN_ = scratch_.take<float>(kQueries * kStride);
  dp_QN_ = scratch_.take<float>(kQueries * kStride);
  p_QN_ = scratch_.take<Bf16>(kQueries * kStride);
  ds_QN_ = scratch_.take<Bf16>(kQueries * kStride);
  k_columns_ = scratch_.take<Bf16>(packed_columns_size(kKeys, d_));
  v_columns_ = scratch_.take<Bf16>(packed_columns_size(kKeys, d_));
  k_rows_ = scratch_.take<Bf16>(packed_columns_size(d_, kKeys));
  columns_ = scratch_.take<Bf16>(packed_columns_size(d_, kQueries));
  rows_ = scratch_.take<Bf16>(packed_rows_size(kKeys, std::max(kQueries, d_)) +
                              packed_rows_size(kQueries, std::max(kKeys, d_)));
}

void Backward::start_keys(std::int64_t first_key, std::int64_t keys) {
  const Bf16* const k = k_TD_ + first_key * apart_;
  pack_columns(keys, d_, columns_of(k, apart_), k_columns_);
  pack_columns(keys, d_, columns_of(v_TD_ + first_key * apart_, apart_), v_columns_);
  pack_columns(d_, keys, rows_of(k, apart_), k_rows_);
  packed_keys_ = keys;
  std::fill_n(dk_ND_, keys * d_, 0.0F);
  std::fill_n(dv_ND_, keys * d_, 0.0F);
}

void Backward::add_queries(std::int64_t first_key, std::int64_t first, std::int64_t queries, std::int64_t keys) {
  const std::int64_t seen = first - first_key;  // by all queries of the block
  const Bf16Operand q = rows_of(q_TD_ + first * apart_, apart_);
  const Bf16Operand dy = rows_of(dy_TD_ + first * head_.channels, head_.channels);
  pack_rows(queries, d_, q, rows_);
  multiply_packed({queries, keys, d_, rows_, k_columns_, d_, Unneeded::kLateColumns, seen},
                  to_f32(s_QN_, kStride, false));
  pack_rows(queries, d_, dy, rows_);
  multiply_packed({queries, keys, d_, rows_, v_columns_, d_, Unneeded::kLateColumns, seen},
                  to_f32(dp_QN_, kStride, false));
  gradient_rows_bf16({queries, keys, seen, kStride, head_.scale()}, s_QN_, dp_QN_, log_sum_exp_T_ + first,
                     dots_T_ + first, p_QN_, ds_QN_);
  pack_columns(d_, queries, dy, columns_);
  pack_rows(keys, queries, columns_of(p_QN_, kStride), rows_);
  multiply_packed({keys, d_, queries, rows_, columns_, queries, Unneeded::kEarlyK, seen}, to_f32(dv_ND_, d_, true));
  pack_columns(d_, queries, q, columns_);
  pack_rows(keys, queries, columns_of(ds_QN_, kStride), rows_);
  multiply_packed({keys, d_, queries, rows_, columns_, queries, Unneeded::kEarlyK, seen}, to_f32(dk_ND_, d_, true));
  pack_rows(queries, keys, rows_of(ds_QN_, kStride), rows_);
  multiply_packed({queries, d_, keys, rows_, k_rows_, packed_keys_, Unneeded::kLateK, seen},
                  to_f32(dq_TD_ + first * d_, d_, first_key > 0));
}

void Backward::run(ConstDeviceSpan y, DeviceSpan dqkv) {
  dot_rows_bf16(t_, d_, numbers(head_.of_y(y, 0)), dy_TD_, head_.channels, dots_T_);
  Bf16* const dk_TD = numbers(head_.of_qkv(dqkv, 1));
  Bf16* const dv_TD = numbers(head_.of_qkv(dqkv, 2));
  for (std::int64_t first_key = 0; first_key < t_; first_key += kKeys) {
    const std::int64_t keys = std::min(kKeys, t_ - first_key);
    start_keys(first_key, keys);
    for (std::int64_t first = first_key; first < t_; first += kQueries) {
      const std::int64_t queries = std::min(kQueries, t_ - first);
      add_queries(first_key, first, queries, std::min(keys, first + queries - first_key));
    }
    round_rows_bf16(keys, d_, dk_ND_, nullptr, head_.scale(), dk_TD + first_key * apart_, apart_);
    round_rows_bf16(keys, d_, dv_ND_, nullptr, 1.0F, dv_TD + first_key * apart_, apart_);
  }
  round_rows_bf16(t_, d_, dq_TD_, nullptr, head_.scale(), numbers(head_.of_qkv(dqkv, 0)), apart_);
}

}  // namespace

void attention_bf16(ThreadPool& pool, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y,
                    DeviceSpan log_sum_exp) {
  const std::int64_t heads = shape.samples * shape.heads;
  const std::int64_t t = shape.positions;
  if (heads * t == 0) return;
  const std::int64_t cuts = std::max<std::int64_t>(1, std::min(kTasks / heads, t / kLeastQueries));
  const std::int64_t queries = ((t + cuts - 1) / cuts + kQueries - 1) / kQueries * kQueries;
  const std::int64_t tasks_of_head = (t + queries - 1) / queries;
  pool.run(heads * tasks_of_head, [&](std::int64_t task) {
    const Head head(shape, task / tasks_of_head);
    // Late queries see more keys: the longest tasks come first.
    const std::int64_t begin = (tasks_of_head - 1 - task % tasks_of_head) * queries;
    float* const of_head = static_cast<float*>(log_sum_exp.data) + task / tasks_of_head * t;
    Forward{head, qkv, y, of_head}.run(pool.scratch(), begin, std::min(t, begin + queries));
  });
}

void attention_backward_bf16(ThreadPool& pool, const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                             ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) {
  pool.run(shape.samples * shape.heads, [&](std::int64_t task) {
    const Head head(shape, task);
    const float* const of_head = static_cast<const float*>(log_sum_exp.data) + task * shape.positions;
    Backward(head, qkv, dy, of_head, pool.scratch()).run(y, dqkv);
  });
}

}  // namespace ballast
