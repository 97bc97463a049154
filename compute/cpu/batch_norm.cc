// Defines: batch_norm, batch_norm_inference.
// Axes: R = rows (samples and pixels), C = channels, W = a row of RowPattern.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/batch_norm.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <cmath>

#include "compute/cpu/batch_norm_inl.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/normalisation.h"
#include "compute/cpu/row_blocks.h"
#include "compute/cpu/row_pattern.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

struct AddSquaredDeviation {
  HWY_INLINE Vector operator()(Vector sum, Vector x, Vector mean) const {
    const Vector deviation = hn::Sub(x, mean);
    return hn::MulAdd(deviation, deviation, sum);
  }
};

struct AddTwoSquaredDeviations {
  HWY_INLINE Vector operator()(Vector sum, Vector a, Vector b, Vector mean) const {
    const AddSquaredDeviation add;
    return add(add(sum, a, mean), b, mean);
  }
};

struct NormaliseAndRelu {
  HWY_INLINE Vector operator()(Vector x, Vector mean, Vector scale, Vector beta) const {
    return Positive()(Normalise()(x, mean, scale, beta));
  }
};

struct NormaliseAddAndRelu {
  HWY_INLINE Vector operator()(Vector x, Vector mean, Vector scale, Vector beta, Vector skip) const {
    return Positive()(hn::Add(Normalise()(x, mean, scale, beta), skip));
  }
};

/// sums_W += x.
template <class T>
HWY_INLINE void add_all(std::int64_t n, std::int64_t width, const T* x, float* sums) {
  const std::int64_t whole = n / width;
  add_rows(whole, width, x, sums);
  map(AddOne(), n - whole * width, sums, sums, x + whole * width);
}

/// squares_W += (x - mean_W)^2.
template <class T>
HWY_INLINE void add_squares(std::int64_t n, std::int64_t width, const T* x, const float* mean, float* squares) {
  std::int64_t i = 0;
  for (; i + 2 * width <= n; i += 2 * width) {
    map(AddTwoSquaredDeviations(), width, squares, squares, x + i, x + i + width, mean);
  }
  for (; i < n; i += width) map(AddSquaredDeviation(), std::min(width, n - i), squares, squares, x + i, mean);
}

template <class Op, class T, class... Skip>
HWY_INLINE void normalise(const Op& op, std::int64_t n, const Normalisation& by, const T* x, T* y,
                          const Skip*... skip) {
  for (std::int64_t i = 0; i < n; i += by.width) {
    map(op, std::min(by.width, n - i), y + i, x + i, by.mean, by.scale, by.beta, (skip + i)...);
  }
}

template <class T>
void normalise_with(bool relu, const Normalisation& by, ConstDeviceSpan x, ConstDeviceSpan skip, DeviceSpan y) {
  const auto* const from = static_cast<const T*>(x.data);
  auto* const to = static_cast<T*>(y.data);
  if (!skip.empty()) {
    return normalise(NormaliseAddAndRelu(), x.size, by, from, to, static_cast<const T*>(skip.data));
  }
  if (relu) return normalise(NormaliseAndRelu(), x.size, by, from, to);
  normalise(Normalise(), x.size, by, from, to);
}

// For spans of either type, exported.

void add_all_span(std::int64_t width, ConstDeviceSpan x, float* sums) {
  if (x.dtype == DType::kBF16) return add_all(x.size, width, static_cast<const Bf16*>(x.data), sums);
  add_all(x.size, width, static_cast<const float*>(x.data), sums);
}

void add_squares_span(std::int64_t width, ConstDeviceSpan x, const float* mean, float* squares) {
  if (x.dtype == DType::kBF16) {
    return add_squares(x.size, width, static_cast<const Bf16*>(x.data), mean, squares);
  }
  add_squares(x.size, width, static_cast<const float*>(x.data), mean, squares);
}

void normalise_span(bool relu, const Normalisation& by, ConstDeviceSpan x, ConstDeviceSpan skip, DeviceSpan y) {
  if (x.dtype == DType::kBF16) return normalise_with<Bf16>(relu, by, x, skip, y);
  normalise_with<float>(relu, by, x, skip, y);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(add_all_span);
HWY_EXPORT(add_squares_span);
HWY_EXPORT(normalise_span);

namespace {

constexpr double kEpsilon = 1e-5;

const float* floats(ConstDeviceSpan x) { return static_cast<const float*>(x.data); }
float* floats(DeviceSpan x) { return static_cast<float*>(x.data); }

bool is_per_channel(ConstDeviceSpan x, std::int64_t columns) { return x.size == columns && x.dtype == DType::kF32; }

void check(const BatchNormShape& shape, std::int64_t columns, ConstDeviceSpan x, ConstDeviceSpan skip,
           ConstDeviceSpan y) {
  require(x.size == shape.rows * columns && y.size == x.size && x.dtype == y.dtype,
          "batch_norm: x and y are not [rows, channels]");
  require(shape.relu || !shape.skip, "batch_norm: a skip is added only before a relu");
  require(skip.size == (shape.skip ? x.size : 0) && (skip.empty() || skip.dtype == x.dtype),
          "batch_norm: the skip differs from x in size or type");
}

/// Mean_C of the rows of x, and the sums of squared deviations from it, at the start of mean_W and squares_W, which
/// arrive as zeros.
void moments_of(const RowPattern& pattern, std::int64_t rows, ConstDeviceSpan x, float* mean, float* squares) {
  const std::int64_t columns = x.size / rows;
  HWY_DYNAMIC_DISPATCH(add_all_span)(pattern.width(), x, mean);
  pattern.fold(mean);
  for (std::int64_t c = 0; c < columns; ++c) mean[c] /= static_cast<float>(rows);
  pattern.repeat(mean);
  HWY_DYNAMIC_DISPATCH(add_squares_span)(pattern.width(), x, mean, squares);
  pattern.fold(squares);
}

/// Mean and biased variance of all rows out of those of the blocks (Chan, Golub and LeVeque 1979), in f64. The moments
/// of a block are mean_W and squares_W.
void combine_moments(ThreadPool& pool, const RowBlocks& blocks, std::int64_t rows, std::int64_t width,
                     const ScratchArray<float>& moments, DeviceSpan mean, DeviceSpan inv_std, DeviceSpan var) {
  pool.run_ranges(mean.size, 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      double total = 0.0;
      for (std::int64_t block = 0; block < blocks.count(); ++block) {
        total += static_cast<double>(moments[block * 2 * width + c]) * static_cast<double>(blocks.rows_of(block));
      }
      const double centre = total / static_cast<double>(rows);
      double squares = 0.0;
      for (std::int64_t block = 0; block < blocks.count(); ++block) {
        const double shift = static_cast<double>(moments[block * 2 * width + c]) - centre;
        squares += static_cast<double>(moments[block * 2 * width + width + c]) +
                   shift * shift * static_cast<double>(blocks.rows_of(block));
      }
      const double variance = squares / static_cast<double>(rows);
      floats(mean)[c] = static_cast<float>(centre);
      floats(var)[c] = static_cast<float>(variance);
      floats(inv_std)[c] = static_cast<float>(1.0 / std::sqrt(variance + kEpsilon));
    }
  });
}

/// y of x, given mean_C, scale_C and beta_C.
void normalise_all(ThreadPool& pool, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                   std::initializer_list<const float*> per_column, DeviceSpan y) {
  if (x.empty()) return;
  const RowPattern pattern(x.size / shape.rows);
  const ScratchArray<float> repeated = pattern.repeated(pool.scratch(), per_column);
  const Normalisation by{pattern.width(), repeated.data(), repeated.data() + pattern.width(),
                         repeated.data() + 2 * pattern.width()};
  const auto kernel = HWY_DYNAMIC_DISPATCH(normalise_span);
  pool.run_ranges(x.size, pattern.grain(), [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t size = end - begin;
    kernel(shape.relu, by, x.subspan(begin, size), shape.skip ? skip.subspan(begin, size) : skip,
           y.subspan(begin, size));
  });
}

}  // namespace

void batch_norm(ThreadPool& pool, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                ConstDeviceSpan gamma, ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std,
                DeviceSpan var) {
  const std::int64_t columns = gamma.size;
  check(shape, columns, x, skip, y);
  require(is_per_channel(gamma, columns) && is_per_channel(beta, columns) && is_per_channel(mean, columns) &&
              is_per_channel(inv_std, columns) && is_per_channel(var, columns),
          "batch_norm: gamma, beta and statistics are not f32 [channels]");
  require(shape.rows > 0, "batch_norm: no rows to take statistics of");
  const RowPattern pattern(columns);
  const std::int64_t width = pattern.width();
  const RowBlocks blocks(shape.rows, columns, pattern.copies());
  ScratchArray<float> moments(pool.scratch(), blocks.count() * 2 * width);
  blocks.run(pool, [&](std::int64_t block, std::int64_t first, std::int64_t count) {
    float* const of_block = moments.data() + block * 2 * width;
    moments_of(pattern, count, x.subspan(first * columns, count * columns), of_block, of_block + width);
  });
  combine_moments(pool, blocks, shape.rows, width, moments, mean, inv_std, var);
  ScratchArray<float> scale(pool.scratch(), columns);
  for (std::int64_t c = 0; c < columns; ++c) scale[c] = floats(gamma)[c] * floats(inv_std)[c];
  normalise_all(pool, shape, x, skip, {floats(mean), scale.data(), floats(beta)}, y);
}

void batch_norm_inference(ThreadPool& pool, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                          ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean, ConstDeviceSpan var,
                          DeviceSpan y) {
  const std::int64_t columns = gamma.size;
  check(shape, columns, x, skip, y);
  require(is_per_channel(gamma, columns) && is_per_channel(beta, columns) && is_per_channel(mean, columns) &&
              is_per_channel(var, columns),
          "batch_norm_inference: gamma, beta, mean and var are not f32 [channels]");
  ScratchArray<float> scale(pool.scratch(), columns);
  for (std::int64_t c = 0; c < columns; ++c) {
    scale[c] = static_cast<float>(floats(gamma)[c] / std::sqrt(static_cast<double>(floats(var)[c]) + kEpsilon));
  }
  normalise_all(pool, shape, x, skip, {floats(mean), scale.data(), floats(beta)}, y);
}

}  // namespace ballast
#endif
