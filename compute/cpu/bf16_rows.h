// Defines: gelu_bf16, gelu_backward_bf16, softmax_rows_bf16, gradient_rows_bf16, dot_rows_bf16, round_rows_bf16: what
// spends its time on exponentials and on rounding to bf16, for processors with instructions for both.
//
// Only where has_bf16_kernels() of bf16_gemm.h. An element's value does not depend on its place, and rows are `stride`
// elements apart. Rounding to bf16 is to nearest even and takes denormal numbers for zero.
#pragma once

#include <cstdint>

#include "compute/cpu/bf16.h"

namespace ballast {

/// Backend::gelu and its gradient, to 1e-4 of the value before it is rounded. Spans may be one and the same.
void gelu_bf16(std::int64_t size, const Bf16* x, Bf16* y);
void gelu_backward_bf16(std::int64_t size, const Bf16* x, const Bf16* dy, Bf16* dx);

/// p_QN = exp(scale (s_QN - top_Q)) where the key is not after the query, 0 elsewhere, for `keys` keys of which row r
/// sees the first `first` + r + 1. Writes the largest score a row sees and the sum of its p before they are rounded.
struct SoftmaxRows {
  std::int64_t rows, keys, first, stride;
  float scale;
};
void softmax_rows_bf16(const SoftmaxRows& shape, const float* scores, Bf16* p, float* tops, float* totals);

/// p_QN = exp(scale s_QN - log_sum_exp_Q) and ds_QN = p (dp_QN - dot_Q), 0 likewise.
void gradient_rows_bf16(const SoftmaxRows& shape, const float* scores, const float* dp, const float* log_sum_exp,
                        const float* dots, Bf16* p, Bf16* ds);

/// dots_R = sum over C of a_RC b_RC.
void dot_rows_bf16(std::int64_t rows, std::int64_t width, const Bf16* a, const Bf16* b, std::int64_t stride,
                   float* dots);

/// to = factor_R from_RC; the rows of `from` stand side by side. `factors` may be null: all `factor`.
void round_rows_bf16(std::int64_t rows, std::int64_t width, const float* from, const float* factors, float factor,
                     Bf16* to, std::int64_t stride);

}  // namespace ballast
