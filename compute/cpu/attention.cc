// Defines: attention, attention_backward. bf16 goes to attention_bf16.h where that is at home; here it is widened.
//
// One task is one head of one sample. It walks over blocks of queries, and holds the scores of one block against the
// keys that the block may see: kQueries x T floats, never T x T (Rabe and Staats 2021). Backward computes the
// probabilities again from log_sum_exp, as Dao et al. 2022. Axes: B = samples, T = positions, H = heads, D = head
// width, C = H D, Q = queries of a block, N = keys that the block sees.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/attention.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <algorithm>
#include <cmath>

#include "compute/cpu/attention_bf16.h"
#include "compute/cpu/attention_head.h"
#include "compute/cpu/bf16_gemm.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

struct Copy {
  HWY_INLINE Vector operator()(Vector x) const { return x; }
};

struct Times {
  float factor;
  HWY_INLINE Vector operator()(Vector x) const { return hn::Mul(x, constant(factor)); }
};

struct Product {
  HWY_INLINE Vector operator()(Vector a, Vector b) const { return hn::Mul(a, b); }
};

struct ExpShifted {
  float shift;
  HWY_INLINE Vector operator()(Vector x) const { return exp_f32(hn::Sub(x, constant(shift))); }
};

/// ds = p (dp - D).
struct ScoreGradient {
  float dot;
  HWY_INLINE Vector operator()(Vector p, Vector dp) const { return hn::Mul(p, hn::Sub(dp, constant(dot))); }
};

/// Rows of `width` elements, `stride` apart, to f32 rows side by side.
void copy_in(std::int64_t rows, std::int64_t width, ConstDeviceSpan from, std::int64_t stride, float* to) {
  for (std::int64_t r = 0; r < rows; ++r, to += width) {
    if (from.dtype == DType::kBF16) {
      map(Copy(), width, to, static_cast<const Bf16*>(from.data) + r * stride);
    } else {
      map(Copy(), width, to, static_cast<const float*>(from.data) + r * stride);
    }
  }
}

/// The way back, each row times its factor.
void copy_out(std::int64_t rows, std::int64_t width, const float* from, const float* factors, DeviceSpan to,
              std::int64_t stride) {
  for (std::int64_t r = 0; r < rows; ++r, from += width) {
    if (to.dtype == DType::kBF16) {
      map(Times{factors[r]}, width, static_cast<Bf16*>(to.data) + r * stride, from);
    } else {
      map(Times{factors[r]}, width, static_cast<float*>(to.data) + r * stride, from);
    }
  }
}

/// s_QN -> exp(s - row maximum) where the key is not after the query, 0 elsewhere. Row r may see `first + r + 1` keys.
/// Writes log sum exp of each row, and what its exponentials must be multiplied with to be probabilities.
void softmax_rows(std::int64_t rows, std::int64_t keys, std::int64_t first, float* scores, float* log_sum_exp,
                  float* factors) {
  for (std::int64_t r = 0; r < rows; ++r, scores += keys) {
    const std::int64_t seen = first + r + 1;
    const float top = largest(seen, scores);
    map(ExpShifted{top}, seen, scores, scores);
    const float total = sum(Copy(), seen, scores);
    std::fill(scores + seen, scores + keys, 0.0F);
    log_sum_exp[r] = top + std::log(total);
    factors[r] = 1.0F / total;
  }
}

/// s_QN -> probabilities, given log sum exp of each row.
void probability_rows(std::int64_t rows, std::int64_t keys, std::int64_t first, const float* log_sum_exp,
                      float* scores) {
  for (std::int64_t r = 0; r < rows; ++r, scores += keys) {
    const std::int64_t seen = first + r + 1;
    map(ExpShifted{log_sum_exp[r]}, seen, scores, scores);
    std::fill(scores + seen, scores + keys, 0.0F);
  }
}

/// dp_QN -> gradient of the scores, given p_QN and D = sum over D of y dy of each row.
void gradient_rows(std::int64_t rows, std::int64_t keys, const float* p, const float* dots, float* dp) {
  for (std::int64_t r = 0; r < rows; ++r) map(ScoreGradient{dots[r]}, keys, dp + r * keys, p + r * keys, dp + r * keys);
}

void dot_rows(std::int64_t rows, std::int64_t width, const float* a, const float* b, float* dots) {
  for (std::int64_t r = 0; r < rows; ++r) dots[r] = sum(Product(), width, a + r * width, b + r * width);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(copy_in);
HWY_EXPORT(copy_out);
HWY_EXPORT(softmax_rows);
HWY_EXPORT(probability_rows);
HWY_EXPORT(gradient_rows);
HWY_EXPORT(dot_rows);

namespace {

constexpr std::int64_t kQueries = 64;

std::int64_t queries_from(std::int64_t first, const Head& head) { return std::min(kQueries, head.positions - first); }

/// y = softmax(q k' / sqrt(D)) v of one head.
void head_forward(ScratchPool& pool, const Head& head, ConstDeviceSpan qkv, DeviceSpan y, float* log_sum_exp) {
  const std::int64_t t = head.positions;
  const std::int64_t d = head.width;
  auto scratch = pool.lend(4 * (3 * t * d + kQueries * (t + d + 1)) + 384);
  float* const q_TD = scratch.take<float>(t * d);
  float* const k_TD = scratch.take<float>(t * d);
  float* const v_TD = scratch.take<float>(t * d);
  float* const s_QN = scratch.take<float>(kQueries * t);
  float* const y_QD = scratch.take<float>(kQueries * d);
  float* const factors_Q = scratch.take<float>(kQueries);
  const auto copy = HWY_DYNAMIC_DISPATCH(copy_in);
  copy(t, d, head.of_qkv(qkv, 0), 3 * head.channels, q_TD);
  copy(t, d, head.of_qkv(qkv, 1), 3 * head.channels, k_TD);
  copy(t, d, head.of_qkv(qkv, 2), 3 * head.channels, v_TD);
  for (std::int64_t first = 0; first < t; first += kQueries) {
    const std::int64_t queries = queries_from(first, head);
    const std::int64_t keys = first + queries;
    gemm_f32({.m = queries, .n = keys, .k = d, .transpose_b = true}, q_TD + first * d, d, k_TD, d, s_QN, keys,
             head.scale());
    HWY_DYNAMIC_DISPATCH(softmax_rows)(queries, keys, first, s_QN, log_sum_exp + first, factors_Q);
    gemm_f32({.m = queries, .n = d, .k = keys}, s_QN, keys, v_TD, d, y_QD, d, 1.0F);
    HWY_DYNAMIC_DISPATCH(copy_out)(queries, d, y_QD, factors_Q, head.of_y(y, first), head.channels);
  }
}

/// With p = softmax rows, D_i = y_i dy_i': dv = p' dy; ds = p (dy v' - D); dq = ds k / sqrt(D); dk = ds' q / sqrt(D).
void head_backward(ScratchPool& pool, const Head& head, ConstDeviceSpan qkv, ConstDeviceSpan y, ConstDeviceSpan dy,
                   const float* log_sum_exp, DeviceSpan dqkv) {
  const std::int64_t t = head.positions;
  const std::int64_t d = head.width;
  auto scratch = pool.lend(4 * (6 * t * d + kQueries * (2 * t + 2 * d + 1) + t) + 768);
  float* const q_TD = scratch.take<float>(t * d);
  float* const k_TD = scratch.take<float>(t * d);
  float* const v_TD = scratch.take<float>(t * d);
  float* const dq_TD = scratch.take<float>(t * d);
  float* const dk_TD = scratch.take<float>(t * d);
  float* const dv_TD = scratch.take<float>(t * d);
  float* const p_QN = scratch.take<float>(kQueries * t);
  float* const ds_QN = scratch.take<float>(kQueries * t);
  float* const y_QD = scratch.take<float>(kQueries * d);
  float* const dy_QD = scratch.take<float>(kQueries * d);
  float* const dots_Q = scratch.take<float>(kQueries);
  float* const ones_T = scratch.take<float>(t);
  const auto copy = HWY_DYNAMIC_DISPATCH(copy_in);
  copy(t, d, head.of_qkv(qkv, 0), 3 * head.channels, q_TD);
  copy(t, d, head.of_qkv(qkv, 1), 3 * head.channels, k_TD);
  copy(t, d, head.of_qkv(qkv, 2), 3 * head.channels, v_TD);
  std::fill_n(dk_TD, t * d, 0.0F);
  std::fill_n(dv_TD, t * d, 0.0F);
  std::fill_n(ones_T, t, 1.0F);
  for (std::int64_t first = 0; first < t; first += kQueries) {
    const std::int64_t queries = queries_from(first, head);
    const std::int64_t keys = first + queries;
    const float* const q_QD = q_TD + first * d;
    copy(queries, d, head.of_y(y, first), head.channels, y_QD);
    copy(queries, d, head.of_y(dy, first), head.channels, dy_QD);
    HWY_DYNAMIC_DISPATCH(dot_rows)(queries, d, y_QD, dy_QD, dots_Q);
    gemm_f32({.m = queries, .n = keys, .k = d, .transpose_b = true}, q_QD, d, k_TD, d, p_QN, keys, head.scale());
    HWY_DYNAMIC_DISPATCH(probability_rows)(queries, keys, first, log_sum_exp + first, p_QN);
    gemm_f32({.m = queries, .n = keys, .k = d, .transpose_b = true}, dy_QD, d, v_TD, d, ds_QN, keys, 1.0F);
    HWY_DYNAMIC_DISPATCH(gradient_rows)(queries, keys, p_QN, dots_Q, ds_QN);
    const MatmulShape to_keys{.m = keys, .n = d, .k = queries, .transpose_a = true, .accumulate = true};
    gemm_f32(to_keys, p_QN, keys, dy_QD, d, dv_TD, d, 1.0F);
    gemm_f32(to_keys, ds_QN, keys, q_QD, d, dk_TD, d, head.scale());
    gemm_f32({.m = queries, .n = d, .k = keys}, ds_QN, keys, k_TD, d, dq_TD + first * d, d, head.scale());
  }
  const auto copy_back = HWY_DYNAMIC_DISPATCH(copy_out);
  copy_back(t, d, dq_TD, ones_T, head.of_qkv(dqkv, 0), 3 * head.channels);
  copy_back(t, d, dk_TD, ones_T, head.of_qkv(dqkv, 1), 3 * head.channels);
  copy_back(t, d, dv_TD, ones_T, head.of_qkv(dqkv, 2), 3 * head.channels);
}

void check_shapes(const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y, ConstDeviceSpan log_sum_exp) {
  const std::int64_t rows = shape.samples * shape.positions;
  const std::int64_t channels = shape.heads * shape.head_width;
  require(y.size == rows * channels && qkv.size == 3 * y.size,
          "attention: qkv is not [samples, positions, 3, heads, width] of y");
  require(qkv.dtype == y.dtype, "attention: qkv and y differ in type");
  require(log_sum_exp.size == rows * shape.heads && log_sum_exp.dtype == DType::kF32,
          "attention: log_sum_exp is not f32 [samples, heads, positions]");
}

}  // namespace

void attention(ThreadPool& pool, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y,
               DeviceSpan log_sum_exp) {
  check_shapes(shape, qkv, y, log_sum_exp);
  if (y.dtype == DType::kBF16 && has_bf16_kernels()) return attention_bf16(pool, shape, qkv, y, log_sum_exp);
  pool.run(shape.samples * shape.heads, [&](std::int64_t task) {
    head_forward(pool.scratch(), Head(shape, task), qkv, y,
                 static_cast<float*>(log_sum_exp.data) + task * shape.positions);
  });
}

void attention_backward(ThreadPool& pool, const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                        ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) {
  check_shapes(shape, qkv, y, log_sum_exp);
  require(dy.size == y.size && dy.dtype == y.dtype && dqkv.size == qkv.size && dqkv.dtype == qkv.dtype,
          "attention_backward: the gradients differ from qkv and y in size or type");
  if (y.dtype == DType::kBF16 && has_bf16_kernels()) {
    return attention_backward_bf16(pool, shape, qkv, y, dy, log_sum_exp, dqkv);
  }
  pool.run(shape.samples * shape.heads, [&](std::int64_t task) {
    const float* const of_head = static_cast<const float*>(log_sum_exp.data) + task * shape.positions;
    head_backward(pool.scratch(), Head(shape, task), qkv, y, dy, of_head, dqkv);
  });
}

}  // namespace ballast
#endif
