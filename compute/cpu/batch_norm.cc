// Defines: batch_norm, batch_norm_inference, batch_norm_backward.
// Axes: R = rows (samples and pixels), C = channels.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/batch_norm.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <cmath>

#include "compute/cpu/kernels.h"
#include "compute/cpu/row_blocks.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

struct DivideBy {
  float divisor;
  HWY_INLINE Vector operator()(Vector x) const { return hn::Div(x, constant(divisor)); }
};

struct AddSquaredDeviation {
  HWY_INLINE Vector operator()(Vector sum, Vector x, Vector mean) const {
    const Vector deviation = hn::Sub(x, mean);
    return hn::MulAdd(deviation, deviation, sum);
  }
};

struct Normalise {
  HWY_INLINE Vector operator()(Vector x, Vector mean, Vector scale, Vector beta) const {
    return hn::MulAdd(hn::Sub(x, mean), scale, beta);
  }
};

struct AddNormalised {
  HWY_INLINE Vector operator()(Vector sum, Vector dy, Vector x, Vector mean, Vector inv_std) const {
    return hn::MulAdd(dy, hn::Mul(hn::Sub(x, mean), inv_std), sum);
  }
};

/// dx = scale (dy - dbeta / R - (x - mean) inv_std dgamma / R), the last two factors in `slope`.
struct Backward {
  HWY_INLINE Vector operator()(Vector dy, Vector x, Vector mean, Vector scale, Vector offset, Vector slope) const {
    return hn::Mul(scale, hn::NegMulAdd(hn::Sub(x, mean), slope, hn::Sub(dy, offset)));
  }
};

/// Mean_C of these rows, and the sums of squared deviations from it. `mean` and `squares` arrive as zeros.
template <class T>
HWY_INLINE void block_moments(std::int64_t rows, std::int64_t columns, const T* x, float* mean, float* squares) {
  add_rows(rows, columns, x, mean);
  map(DivideBy{static_cast<float>(rows)}, columns, mean, mean);
  for (std::int64_t r = 0; r < rows; ++r) map(AddSquaredDeviation(), columns, squares, squares, x + r * columns, mean);
}

template <class T>
HWY_INLINE void normalise(std::int64_t rows, std::int64_t columns, const T* x, const float* mean, const float* scale,
                          const float* beta, T* y) {
  for (std::int64_t r = 0; r < rows; ++r)
    map(Normalise(), columns, y + r * columns, x + r * columns, mean, scale, beta);
}

template <class T>
HWY_INLINE void block_gradients(std::int64_t rows, std::int64_t columns, const T* x, const T* dy, const float* mean,
                                const float* inv_std, float* dgamma, float* dbeta) {
  add_rows(rows, columns, dy, dbeta);
  for (std::int64_t r = 0; r < rows; ++r) {
    map(AddNormalised(), columns, dgamma, dgamma, dy + r * columns, x + r * columns, mean, inv_std);
  }
}

template <class T>
HWY_INLINE void backward(std::int64_t rows, std::int64_t columns, const T* x, const T* dy, const float* mean,
                         const float* scale, const float* offset, const float* slope, T* dx) {
  for (std::int64_t r = 0; r < rows; ++r) {
    map(Backward(), columns, dx + r * columns, dy + r * columns, x + r * columns, mean, scale, offset, slope);
  }
}

// The same for spans of either type, exported.

void moments_span(std::int64_t rows, std::int64_t columns, ConstDeviceSpan x, float* mean, float* squares) {
  if (x.dtype == DType::kBF16) return block_moments(rows, columns, static_cast<const Bf16*>(x.data), mean, squares);
  block_moments(rows, columns, static_cast<const float*>(x.data), mean, squares);
}

void normalise_span(std::int64_t rows, std::int64_t columns, ConstDeviceSpan x, const float* mean, const float* scale,
                    const float* beta, DeviceSpan y) {
  if (x.dtype == DType::kBF16) {
    return normalise(rows, columns, static_cast<const Bf16*>(x.data), mean, scale, beta, static_cast<Bf16*>(y.data));
  }
  normalise(rows, columns, static_cast<const float*>(x.data), mean, scale, beta, static_cast<float*>(y.data));
}

void gradients_span(std::int64_t rows, std::int64_t columns, ConstDeviceSpan x, ConstDeviceSpan dy, const float* mean,
                    const float* inv_std, float* dgamma, float* dbeta) {
  if (x.dtype == DType::kBF16) {
    return block_gradients(rows, columns, static_cast<const Bf16*>(x.data), static_cast<const Bf16*>(dy.data), mean,
                           inv_std, dgamma, dbeta);
  }
  block_gradients(rows, columns, static_cast<const float*>(x.data), static_cast<const float*>(dy.data), mean, inv_std,
                  dgamma, dbeta);
}

void backward_span(std::int64_t rows, std::int64_t columns, ConstDeviceSpan x, ConstDeviceSpan dy, const float* mean,
                   const float* scale, const float* offset, const float* slope, DeviceSpan dx) {
  if (x.dtype == DType::kBF16) {
    return backward(rows, columns, static_cast<const Bf16*>(x.data), static_cast<const Bf16*>(dy.data), mean, scale,
                    offset, slope, static_cast<Bf16*>(dx.data));
  }
  backward(rows, columns, static_cast<const float*>(x.data), static_cast<const float*>(dy.data), mean, scale, offset,
           slope, static_cast<float*>(dx.data));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(moments_span);
HWY_EXPORT(normalise_span);
HWY_EXPORT(gradients_span);
HWY_EXPORT(backward_span);

namespace {

constexpr double kEpsilon = 1e-5;

const float* floats(ConstDeviceSpan x) { return static_cast<const float*>(x.data); }
float* floats(DeviceSpan x) { return static_cast<float*>(x.data); }

bool is_per_channel(ConstDeviceSpan x, std::int64_t columns) { return x.size == columns && x.dtype == DType::kF32; }

/// Mean and biased variance of all rows out of those of the blocks (Chan, Golub and LeVeque 1979), in f64.
void combine_moments(ThreadPool& pool, const RowBlocks& blocks, std::int64_t rows, const std::vector<float>& moments,
                     DeviceSpan mean, DeviceSpan inv_std, DeviceSpan var) {
  const std::int64_t columns = mean.size;
  pool.run_ranges(columns, 512, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      double total = 0.0;
      for (std::int64_t block = 0; block < blocks.count(); ++block) {
        total += static_cast<double>(moments[block * 2 * columns + c]) * static_cast<double>(blocks.rows_of(block));
      }
      const double centre = total / static_cast<double>(rows);
      double squares = 0.0;
      for (std::int64_t block = 0; block < blocks.count(); ++block) {
        const double shift = static_cast<double>(moments[block * 2 * columns + c]) - centre;
        squares += static_cast<double>(moments[block * 2 * columns + columns + c]) +
                   shift * shift * static_cast<double>(blocks.rows_of(block));
      }
      const double variance = squares / static_cast<double>(rows);
      floats(mean)[c] = static_cast<float>(centre);
      floats(var)[c] = static_cast<float>(variance);
      floats(inv_std)[c] = static_cast<float>(1.0 / std::sqrt(variance + kEpsilon));
    }
  });
}

void normalise_all(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan x, const float* mean,
                   const std::vector<float>& scale, ConstDeviceSpan beta, DeviceSpan y) {
  const std::int64_t columns = beta.size;
  const auto kernel = HWY_DYNAMIC_DISPATCH(normalise_span);
  RowBlocks(rows, columns).run(pool, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    kernel(count, columns, x.subspan(first * columns, count * columns), mean, scale.data(), floats(beta),
           y.subspan(first * columns, count * columns));
  });
}

}  // namespace

void batch_norm(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std, DeviceSpan var) {
  const std::int64_t columns = gamma.size;
  require(x.size == rows * columns && y.size == x.size && x.dtype == y.dtype,
          "batch_norm: x and y are not [rows, channels]");
  require(is_per_channel(gamma, columns) && is_per_channel(beta, columns) && is_per_channel(mean, columns) &&
              is_per_channel(inv_std, columns) && is_per_channel(var, columns),
          "batch_norm: gamma, beta and statistics are not f32 [channels]");
  require(rows > 0, "batch_norm: no rows to take statistics of");
  const RowBlocks blocks(rows, columns);
  std::vector<float> moments(static_cast<std::size_t>(blocks.count() * 2 * columns));  // of a block: mean_C, squares_C
  const auto kernel = HWY_DYNAMIC_DISPATCH(moments_span);
  blocks.run(pool, [&](std::int64_t block, std::int64_t first, std::int64_t count) {
    float* const of_block = moments.data() + block * 2 * columns;
    kernel(count, columns, x.subspan(first * columns, count * columns), of_block, of_block + columns);
  });
  combine_moments(pool, blocks, rows, moments, mean, inv_std, var);
  std::vector<float> scale(static_cast<std::size_t>(columns));
  for (std::int64_t c = 0; c < columns; ++c) scale[c] = floats(gamma)[c] * floats(inv_std)[c];
  normalise_all(pool, rows, x, floats(mean), scale, beta, y);
}

void batch_norm_inference(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma,
                          ConstDeviceSpan beta, ConstDeviceSpan mean, ConstDeviceSpan var, DeviceSpan y) {
  const std::int64_t columns = gamma.size;
  require(x.size == rows * columns && y.size == x.size && x.dtype == y.dtype,
          "batch_norm_inference: x and y are not [rows, channels]");
  require(is_per_channel(gamma, columns) && is_per_channel(beta, columns) && is_per_channel(mean, columns) &&
              is_per_channel(var, columns),
          "batch_norm_inference: gamma, beta, mean and var are not f32 [channels]");
  std::vector<float> scale(static_cast<std::size_t>(columns));
  for (std::int64_t c = 0; c < columns; ++c) {
    scale[c] = static_cast<float>(floats(gamma)[c] / std::sqrt(static_cast<double>(floats(var)[c]) + kEpsilon));
  }
  normalise_all(pool, rows, x, floats(mean), scale, beta, y);
}

void batch_norm_backward(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy,
                         ConstDeviceSpan gamma, ConstDeviceSpan mean, ConstDeviceSpan inv_std, DeviceSpan dx,
                         DeviceSpan dgamma, DeviceSpan dbeta) {
  const std::int64_t columns = gamma.size;
  require(
      x.size == rows * columns && dy.size == x.size && dx.size == x.size && dy.dtype == x.dtype && dx.dtype == x.dtype,
      "batch_norm_backward: x, dy and dx are not [rows, channels] of one type");
  require(is_per_channel(mean, columns) && is_per_channel(inv_std, columns) && is_per_channel(dgamma, columns) &&
              is_per_channel(dbeta, columns),
          "batch_norm_backward: statistics and gradients are not f32 [channels]");
  const RowBlocks blocks(rows, columns);
  std::vector<float> partials(static_cast<std::size_t>(blocks.count() * 2 * columns));  // of a block: dgamma_C, dbeta_C
  const auto gradients = HWY_DYNAMIC_DISPATCH(gradients_span);
  blocks.run(pool, [&](std::int64_t block, std::int64_t first, std::int64_t count) {
    float* const of_block = partials.data() + block * 2 * columns;
    gradients(count, columns, x.subspan(first * columns, count * columns), dy.subspan(first * columns, count * columns),
              floats(mean), floats(inv_std), of_block, of_block + columns);
  });
  const std::vector<double> totals = blocks.add_up(pool, partials, 2 * columns);
  std::vector<float> scale(static_cast<std::size_t>(columns));
  std::vector<float> offset(scale.size());
  std::vector<float> slope(scale.size());
  for (std::int64_t c = 0; c < columns; ++c) {
    floats(dgamma)[c] += static_cast<float>(totals[c]);
    floats(dbeta)[c] += static_cast<float>(totals[columns + c]);
    scale[c] = floats(gamma)[c] * floats(inv_std)[c];
    offset[c] = static_cast<float>(totals[columns + c] / static_cast<double>(rows));
    slope[c] = static_cast<float>(totals[c] / static_cast<double>(rows)) * floats(inv_std)[c];
  }
  const auto kernel = HWY_DYNAMIC_DISPATCH(backward_span);
  blocks.run(pool, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    kernel(count, columns, x.subspan(first * columns, count * columns), dy.subspan(first * columns, count * columns),
           floats(mean), scale.data(), offset.data(), slope.data(), dx.subspan(first * columns, count * columns));
  });
}

}  // namespace ballast
#endif
