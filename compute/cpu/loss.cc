// Defines: softmax_cross_entropy, softmax_cross_entropy_backward.
// Axes: R = rows, V = vocabulary (classes).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/loss.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <cmath>
#include <string>
#include <vector>

#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

struct ExpShifted {
  float shift;
  HWY_INLINE Vector operator()(Vector x) const { return exp_f32(hn::Sub(x, constant(shift))); }
};

struct ScaledProbability {
  float log_sum_exp, scale;
  HWY_INLINE Vector operator()(Vector x) const {
    return hn::Mul(exp_f32(hn::Sub(x, constant(log_sum_exp))), constant(scale));
  }
};

HWY_INLINE float value_of(float x) { return x; }
HWY_INLINE float value_of(Bf16 x) { return widen(x); }
HWY_INLINE void set_value(float x, float& to) { to = x; }
HWY_INLINE void set_value(float x, Bf16& to) { to = narrow(x); }

template <class T>
HWY_INLINE LossSums rows_loss(std::int64_t rows, std::int64_t classes, const T* logits, const std::int32_t* targets,
                              float* log_sum_exp) {
  LossSums sums;
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = logits + r * classes;
    const float top = largest(classes, row);
    const double total = static_cast<double>(sum(ExpShifted{top}, classes, row));
    const double log_total = static_cast<double>(top) + std::log(total);
    log_sum_exp[r] = static_cast<float>(log_total);
    if (targets[r] < 0) continue;
    const float of_target = value_of(row[targets[r]]);
    sums.loss += log_total - static_cast<double>(of_target);
    sums.rows += 1;
    if (of_target == top && largest(targets[r], row) < top) sums.correct += 1;
  }
  return sums;
}

template <class T>
HWY_INLINE void rows_gradient(std::int64_t rows, std::int64_t classes, const T* logits, const std::int32_t* targets,
                              const float* log_sum_exp, float scale, T* dlogits) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = logits + r * classes;
    T* drow = dlogits + r * classes;
    if (targets[r] < 0) {
      std::fill_n(drow, classes, T{});
      continue;
    }
    // Before the row is overwritten: dlogits may be logits.
    const float of_target = value_of(row[targets[r]]) - log_sum_exp[r];
    const float probability = hn::GetLane(exp_f32(constant(of_target)));
    map(ScaledProbability{log_sum_exp[r], scale}, classes, drow, row);
    set_value((probability - 1.0F) * scale, drow[targets[r]]);
  }
}

LossSums loss_span(std::int64_t rows, std::int64_t classes, ConstDeviceSpan logits, const std::int32_t* targets,
                   float* log_sum_exp) {
  if (logits.dtype == DType::kBF16) {
    return rows_loss(rows, classes, static_cast<const Bf16*>(logits.data), targets, log_sum_exp);
  }
  return rows_loss(rows, classes, static_cast<const float*>(logits.data), targets, log_sum_exp);
}

void gradient_span(std::int64_t rows, std::int64_t classes, ConstDeviceSpan logits, const std::int32_t* targets,
                   const float* log_sum_exp, float scale, DeviceSpan dlogits) {
  if (logits.dtype == DType::kBF16) {
    return rows_gradient(rows, classes, static_cast<const Bf16*>(logits.data), targets, log_sum_exp, scale,
                         static_cast<Bf16*>(dlogits.data));
  }
  rows_gradient(rows, classes, static_cast<const float*>(logits.data), targets, log_sum_exp, scale,
                static_cast<float*>(dlogits.data));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(loss_span);
HWY_EXPORT(gradient_span);

namespace {

/// Rows of a task, and of a partial sum of the loss.
std::int64_t rows_at_once(std::int64_t classes) { return std::max<std::int64_t>(1, 32768 / classes); }

/// V. Throws Error for arguments that do not fit together.
std::int64_t classes_of(std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                        ConstDeviceSpan log_sum_exp) {
  require(rows > 0 && logits.size > 0 && logits.size % rows == 0,
          "softmax_cross_entropy: logits are not [rows, classes]");
  require(targets.size == rows && targets.dtype == DType::kI32, "softmax_cross_entropy: targets are not i32 [rows]");
  require(log_sum_exp.size == rows && log_sum_exp.dtype == DType::kF32,
          "softmax_cross_entropy: log_sum_exp is not f32 [rows]");
  const std::int64_t classes = logits.size / rows;
  const auto* target = static_cast<const std::int32_t*>(targets.data);
  for (std::int64_t r = 0; r < rows; ++r) {
    if (target[r] < classes) continue;
    throw DataError("target " + std::to_string(target[r]) + " is outside the " + std::to_string(classes) +
                    " classes of the model: check the labels of the data set and the width of the last layer");
  }
  return classes;
}

}  // namespace

LossSums softmax_cross_entropy(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan logits, ConstDeviceSpan targets,
                               DeviceSpan log_sum_exp) {
  if (rows == 0) return {};
  const std::int64_t classes = classes_of(rows, logits, targets, log_sum_exp);
  const std::int64_t grain = rows_at_once(classes);
  ScratchArray<LossSums> partials(pool.scratch(), (rows + grain - 1) / grain);
  const auto kernel = HWY_DYNAMIC_DISPATCH(loss_span);
  pool.run_ranges(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    partials[static_cast<std::size_t>(begin / grain)] =
        kernel(end - begin, classes, logits.subspan(begin * classes, (end - begin) * classes),
               static_cast<const std::int32_t*>(targets.data) + begin, static_cast<float*>(log_sum_exp.data) + begin);
  });
  LossSums sums;
  for (const LossSums& partial : partials) sums += partial;
  return sums;
}

void softmax_cross_entropy_backward(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan logits,
                                    ConstDeviceSpan targets, ConstDeviceSpan log_sum_exp, float scale,
                                    DeviceSpan dlogits) {
  if (rows == 0) return;
  const std::int64_t classes = classes_of(rows, logits, targets, log_sum_exp);
  require(dlogits.size == logits.size && dlogits.dtype == logits.dtype,
          "softmax_cross_entropy_backward: dlogits and logits differ in size or type");
  const auto kernel = HWY_DYNAMIC_DISPATCH(gradient_span);
  pool.run_ranges(rows, rows_at_once(classes), [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = (end - begin) * classes;
    kernel(end - begin, classes, logits.subspan(begin * classes, count),
           static_cast<const std::int32_t*>(targets.data) + begin, static_cast<const float*>(log_sum_exp.data) + begin,
           scale, dlogits.subspan(begin * classes, count));
  });
}

}  // namespace ballast
#endif
