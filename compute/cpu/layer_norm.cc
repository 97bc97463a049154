// Defines: layer_norm, layer_norm_backward.
// Axes: R = rows (samples and positions), C = width.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/layer_norm.cc"
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

struct Identity {
  HWY_INLINE Vector operator()(Vector x) const { return x; }
};

struct SquaredDeviation {
  float mean;
  HWY_INLINE Vector operator()(Vector x) const {
    const Vector deviation = hn::Sub(x, constant(mean));
    return hn::Mul(deviation, deviation);
  }
};

struct Normalise {
  float mean, inv_std;
  HWY_INLINE Vector operator()(Vector x, Vector gamma, Vector beta) const {
    return hn::MulAdd(hn::Mul(hn::Sub(x, constant(mean)), constant(inv_std)), gamma, beta);
  }
};

template <class T>
HWY_INLINE void forward(std::int64_t rows, std::int64_t width, const T* x, const float* gamma, const float* beta, T* y,
                        float* means, float* inv_stds) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* row = x + r * width;
    const float mean = sum(Identity(), width, row) / static_cast<float>(width);
    const float variance = sum(SquaredDeviation{mean}, width, row) / static_cast<float>(width);
    const float inv_std = 1.0F / std::sqrt(variance + 1e-5F);
    map(Normalise{mean, inv_std}, width, y + r * width, row, gamma, beta);
    means[r] = mean;
    inv_stds[r] = inv_std;
  }
}

struct Product {
  HWY_INLINE Vector operator()(Vector dy, Vector gamma) const { return hn::Mul(dy, gamma); }
};

struct NormalisedProduct {
  float mean;
  HWY_INLINE Vector operator()(Vector dy, Vector gamma, Vector x) const {
    return hn::Mul(hn::Mul(dy, gamma), hn::Sub(x, constant(mean)));
  }
};

struct AddNormalised {
  float mean, inv_std;
  HWY_INLINE Vector operator()(Vector sum, Vector dy, Vector x) const {
    return hn::MulAdd(dy, hn::Mul(hn::Sub(x, constant(mean)), constant(inv_std)), sum);
  }
};

/// dx = inv_std (dy gamma - offset - (x - mean) slope), where offset = mean over C of dy gamma, and slope = inv_std^2
/// times the mean of dy gamma (x - mean).
struct Backward {
  float mean, inv_std, offset, slope;
  HWY_INLINE Vector operator()(Vector dy, Vector gamma, Vector x) const {
    const Vector centred = hn::MulSub(dy, gamma, constant(offset));
    return hn::Mul(hn::NegMulAdd(hn::Sub(x, constant(mean)), constant(slope), centred), constant(inv_std));
  }
};

struct BackwardOnto {
  Backward backward;
  HWY_INLINE Vector operator()(Vector dy, Vector gamma, Vector x, Vector dx) const {
    return hn::Add(dx, backward(dy, gamma, x));
  }
};

template <class T>
HWY_INLINE void backward(std::int64_t rows, std::int64_t width, const T* x, const T* dy, const float* gamma,
                         const float* means, const float* inv_stds, bool accumulate, T* dx, float* dgamma,
                         float* dbeta) {
  add_rows(rows, width, dy, dbeta);
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* x_row = x + r * width;
    const T* dy_row = dy + r * width;
    T* dx_row = dx + r * width;
    const float mean = means[r];
    const float inv_std = inv_stds[r];
    map(AddNormalised{mean, inv_std}, width, dgamma, dgamma, dy_row, x_row);
    const float offset = sum(Product(), width, dy_row, gamma) / static_cast<float>(width);
    const float slope =
        sum(NormalisedProduct{mean}, width, dy_row, gamma, x_row) / static_cast<float>(width) * inv_std * inv_std;
    const Backward op{mean, inv_std, offset, slope};
    if (accumulate) {
      map(BackwardOnto{op}, width, dx_row, dy_row, gamma, x_row, dx_row);
    } else {
      map(op, width, dx_row, dy_row, gamma, x_row);
    }
  }
}

void forward_span(std::int64_t rows, std::int64_t width, ConstDeviceSpan x, const float* gamma, const float* beta,
                  DeviceSpan y, float* mean, float* inv_std) {
  if (x.dtype == DType::kBF16) {
    return forward(rows, width, static_cast<const Bf16*>(x.data), gamma, beta, static_cast<Bf16*>(y.data), mean,
                   inv_std);
  }
  forward(rows, width, static_cast<const float*>(x.data), gamma, beta, static_cast<float*>(y.data), mean, inv_std);
}

void backward_span(std::int64_t rows, std::int64_t width, ConstDeviceSpan x, ConstDeviceSpan dy, const float* gamma,
                   const float* mean, const float* inv_std, bool accumulate, DeviceSpan dx, float* dgamma,
                   float* dbeta) {
  if (x.dtype == DType::kBF16) {
    return backward(rows, width, static_cast<const Bf16*>(x.data), static_cast<const Bf16*>(dy.data), gamma, mean,
                    inv_std, accumulate, static_cast<Bf16*>(dx.data), dgamma, dbeta);
  }
  backward(rows, width, static_cast<const float*>(x.data), static_cast<const float*>(dy.data), gamma, mean, inv_std,
           accumulate, static_cast<float*>(dx.data), dgamma, dbeta);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(forward_span);
HWY_EXPORT(backward_span);

namespace {

bool is_f32(ConstDeviceSpan x, std::int64_t size) { return x.size == size && x.dtype == DType::kF32; }

const float* floats(ConstDeviceSpan x) { return static_cast<const float*>(x.data); }
float* floats(DeviceSpan x) { return static_cast<float*>(x.data); }

}  // namespace

void layer_norm(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std) {
  const std::int64_t width = gamma.size;
  require(x.size == rows * width && y.size == x.size && x.dtype == y.dtype,
          "layer_norm: x and y are not [rows, width]");
  require(is_f32(gamma, width) && is_f32(beta, width), "layer_norm: gamma and beta are not f32 [width]");
  require(is_f32(mean, rows) && is_f32(inv_std, rows), "layer_norm: mean and inv_std are not f32 [rows]");
  const auto kernel = HWY_DYNAMIC_DISPATCH(forward_span);
  RowBlocks(rows, width).run(pool, [&](std::int64_t, std::int64_t first, std::int64_t count) {
    kernel(count, width, x.subspan(first * width, count * width), floats(gamma), floats(beta),
           y.subspan(first * width, count * width), floats(mean) + first, floats(inv_std) + first);
  });
}

void layer_norm_backward(ThreadPool& pool, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy,
                         ConstDeviceSpan gamma, ConstDeviceSpan mean, ConstDeviceSpan inv_std, bool accumulate,
                         DeviceSpan dx, DeviceSpan dgamma, DeviceSpan dbeta) {
  const std::int64_t width = gamma.size;
  require(
      x.size == rows * width && dy.size == x.size && dx.size == x.size && dy.dtype == x.dtype && dx.dtype == x.dtype,
      "layer_norm_backward: x, dy and dx are not [rows, width] of one type");
  require(is_f32(gamma, width) && is_f32(dgamma, width) && is_f32(dbeta, width),
          "layer_norm_backward: gamma and its gradients are not f32 [width]");
  require(is_f32(mean, rows) && is_f32(inv_std, rows), "layer_norm_backward: mean and inv_std are not f32 [rows]");
  const RowBlocks blocks(rows, width);
  ScratchArray<float> partials(pool.scratch(), blocks.count() * 2 * width);  // of a block: dgamma_C, dbeta_C
  const auto kernel = HWY_DYNAMIC_DISPATCH(backward_span);
  blocks.run(pool, [&](std::int64_t block, std::int64_t first, std::int64_t count) {
    const auto part = [&](auto span) { return span.subspan(first * width, count * width); };
    float* const of_block = partials.data() + block * 2 * width;
    kernel(count, width, part(x), part(dy), floats(gamma), floats(mean) + first, floats(inv_std) + first, accumulate,
           part(dx), of_block, of_block + width);
  });
  const ScratchArray<double> totals = blocks.add_up(pool, partials, 2 * width);
  for (std::int64_t c = 0; c < width; ++c) {
    floats(dgamma)[c] += static_cast<float>(totals[c]);
    floats(dbeta)[c] += static_cast<float>(totals[width + c]);
  }
}

}  // namespace ballast
#endif
