// Defines: bias_backward, average_pool, average_pool_backward: sums over rows and their reverse.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/columns.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include "compute/cpu/kernels.h"
#include "compute/cpu/row_blocks.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

struct ScaleBy {
  float factor;
  HWY_INLINE Vector operator()(Vector x) const { return hn::Mul(x, constant(factor)); }
};

/// sums_C += the rows of x.
void add_rows_span(std::int64_t rows, std::int64_t columns, ConstDeviceSpan x, float* sums) {
  if (x.dtype == DType::kBF16) return add_rows(rows, columns, static_cast<const Bf16*>(x.data), sums);
  add_rows(rows, columns, static_cast<const float*>(x.data), sums);
}

/// y = x * factor, f32 to either type.
void scale_into(float factor, const float* x, DeviceSpan y) {
  if (y.dtype == DType::kBF16) return map(ScaleBy{factor}, y.size, static_cast<Bf16*>(y.data), x);
  map(ScaleBy{factor}, y.size, static_cast<float*>(y.data), x);
}

void scale_span(float factor, ConstDeviceSpan x, DeviceSpan y) { map_spans(ScaleBy{factor}, y, x); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(add_rows_span);
HWY_EXPORT(scale_into);
HWY_EXPORT(scale_span);

void bias_backward(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan dy, DeviceSpan dbias) {
  const std::int64_t columns = dbias.size;
  require(dy.size == rows * columns && dbias.dtype == DType::kF32, "bias_backward: dy is not [rows, dbias]");
  const RowBlocks blocks(rows, columns);
  ScratchArray<float> partials(pool.scratch(), blocks.count() * columns);
  const auto kernel = HWY_DYNAMIC_DISPATCH(add_rows_span);
  blocks.run(pool, [&](std::int64_t block, std::int64_t first, std::int64_t count) {
    kernel(count, columns, dy.subspan(first * columns, count * columns), partials.data() + block * columns);
  });
  const ScratchArray<double> totals = blocks.add_up(pool, partials, columns);
  auto* const sums = static_cast<float*>(dbias.data);
  for (std::int64_t c = 0; c < columns; ++c) sums[c] += static_cast<float>(totals[static_cast<std::size_t>(c)]);
}

namespace {

/// Samples of a task, for samples of `elements` elements.
std::int64_t samples_at_once(std::int64_t elements) {
  return std::max<std::int64_t>(1, 32768 / std::max<std::int64_t>(1, elements));
}

}  // namespace

void average_pool(ThreadPool& pool, std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y) {
  require(x.size == y.size * pixels && x.dtype == y.dtype, "average_pool: x is not [samples, pixels, channels] of y");
  if (y.empty()) return;
  const std::int64_t channels = y.size / samples;
  const auto add_up = HWY_DYNAMIC_DISPATCH(add_rows_span);
  const auto scale = HWY_DYNAMIC_DISPATCH(scale_into);
  pool.run_ranges(samples, samples_at_once(pixels * channels), [&](std::int64_t begin, std::int64_t end) {
    ScratchArray<float> sums(pool.scratch(), channels);
    for (std::int64_t b = begin; b < end; ++b) {
      std::fill_n(sums.data(), channels, 0.0F);
      add_up(pixels, channels, x.subspan(b * pixels * channels, pixels * channels), sums.data());
      scale(1.0F / static_cast<float>(pixels), sums.data(), y.subspan(b * channels, channels));
    }
  });
}

void average_pool_backward(ThreadPool& pool, std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy,
                           DeviceSpan dx) {
  require(dx.size == dy.size * pixels && dx.dtype == dy.dtype,
          "average_pool_backward: dx is not [samples, pixels, channels] of dy");
  if (dx.empty()) return;
  const std::int64_t channels = dy.size / samples;
  const auto kernel = HWY_DYNAMIC_DISPATCH(scale_span);
  pool.run_ranges(samples, samples_at_once(pixels * channels), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      const ConstDeviceSpan row = dy.subspan(b * channels, channels);
      for (std::int64_t p = 0; p < pixels; ++p) {
        kernel(1.0F / static_cast<float>(pixels), row, dx.subspan((b * pixels + p) * channels, channels));
      }
    }
  });
}

}  // namespace ballast
#endif
