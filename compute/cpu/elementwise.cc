// Defines: zero, convert, add, relu, relu_backward, gelu, gelu_backward, vector_target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/elementwise.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <cstring>

#include "compute/cpu/bf16_gemm.h"
#include "compute/cpu/bf16_rows.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

struct Copy {
  HWY_INLINE Vector operator()(Vector x) const { return x; }
};

struct Add {
  HWY_INLINE Vector operator()(Vector a, Vector b) const { return hn::Add(a, b); }
};

// Both keep NaN: a comparison with NaN is false.
struct Relu {
  HWY_INLINE Vector operator()(Vector x) const { return hn::IfThenZeroElse(hn::Lt(x, constant(0.0F)), x); }
};

struct ReluBackward {
  HWY_INLINE Vector operator()(Vector y, Vector dy) const { return hn::IfThenZeroElse(hn::Le(y, constant(0.0F)), dy); }
};

constexpr float kRootTwoOverPi = 0.7978845608F;
constexpr float kCubic = 0.044715F;

constexpr float kBound = 9.5F;

/// x within [-kBound, kBound]: beyond, the gate below is 0 or 1 to 1e-33, and powers of x could overflow. Keeps NaN.
HWY_INLINE Vector bounded(Vector x) {
  const Vector bound = constant(kBound);
  return hn::IfThenElse(hn::Gt(hn::Abs(x), bound), hn::CopySign(bound, x), x);
}

/// exp(-2u) for u = sqrt(2 / pi) (x + 0.044715 x^3), where |x| <= kBound and so |2u| < 77. The gate (1 + tanh u) / 2 is
/// 1 / (1 + exp(-2u)).
HWY_INLINE Vector exp_minus_two_u(Vector x, Vector x_squared) {
  constexpr float kLinear = -2.0F * kRootTwoOverPi;
  return exp_bounded_f32(hn::Mul(x, hn::MulAdd(constant(kLinear * kCubic), x_squared, constant(kLinear))));
}

struct Gelu {
  HWY_INLINE Vector operator()(Vector x) const {
    const Vector inner = bounded(x);
    const Vector e = exp_minus_two_u(inner, hn::Mul(inner, inner));
    return hn::Div(hn::Max(x, constant(-kBound)), hn::Add(constant(1.0F), e));
  }
};

/// d/dx of x s = s + x s (1 - s) d(2u)/dx for the gate s, with s (1 - s) = e s^2: no difference of numbers near 1.
struct GeluBackward {
  HWY_INLINE Vector operator()(Vector x, Vector dy) const {
    const Vector inner = bounded(x);
    const Vector x_squared = hn::Mul(inner, inner);
    const Vector e = exp_minus_two_u(inner, x_squared);
    const Vector s = hn::Div(constant(1.0F), hn::Add(constant(1.0F), e));
    const Vector du = hn::MulAdd(constant(6.0F * kRootTwoOverPi * kCubic), x_squared, constant(2.0F * kRootTwoOverPi));
    const Vector slope = hn::Mul(hn::Mul(hn::Mul(e, s), s), hn::Mul(inner, du));
    return hn::Mul(dy, hn::Add(s, slope));
  }
};

void widen_range(ConstDeviceSpan from, DeviceSpan to) {
  map(Copy(), to.size, static_cast<float*>(to.data), static_cast<const Bf16*>(from.data));
}
void narrow_range(ConstDeviceSpan from, DeviceSpan to) {
  map(Copy(), to.size, static_cast<Bf16*>(to.data), static_cast<const float*>(from.data));
}
void add_range(ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) { map_spans(Add(), y, a, b); }
void relu_range(ConstDeviceSpan x, DeviceSpan y) { map_spans(Relu(), y, x); }
void relu_backward_range(ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) { map_spans(ReluBackward(), dx, y, dy); }
void gelu_range(ConstDeviceSpan x, DeviceSpan y) { map_spans(Gelu(), y, x); }
void gelu_backward_range(ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) { map_spans(GeluBackward(), dx, x, dy); }
const char* target_name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(widen_range);
HWY_EXPORT(narrow_range);
HWY_EXPORT(add_range);
HWY_EXPORT(relu_range);
HWY_EXPORT(relu_backward_range);
HWY_EXPORT(gelu_range);
HWY_EXPORT(gelu_backward_range);
HWY_EXPORT(target_name);

namespace {

constexpr std::int64_t kGrain = 16384;  // elements of a task

using Unary = void (*)(ConstDeviceSpan, DeviceSpan);
using Binary = void (*)(ConstDeviceSpan, ConstDeviceSpan, DeviceSpan);

bool alike(ConstDeviceSpan a, ConstDeviceSpan b) {
  return a.size == b.size && a.dtype == b.dtype && (a.dtype == DType::kF32 || a.dtype == DType::kBF16);
}

void run(ThreadPool& pool, Unary kernel, ConstDeviceSpan x, DeviceSpan y) {
  pool.run_ranges(y.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
    kernel(x.subspan(begin, end - begin), y.subspan(begin, end - begin));
  });
}

void run(ThreadPool& pool, Binary kernel, ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) {
  pool.run_ranges(y.size, kGrain, [&](std::int64_t begin, std::int64_t end) {
    kernel(a.subspan(begin, end - begin), b.subspan(begin, end - begin), y.subspan(begin, end - begin));
  });
}

// Where the processor rounds to bf16 by itself, half the work of a GELU in bf16 goes away.
void gelu_bf16_range(ConstDeviceSpan x, DeviceSpan y) {
  gelu_bf16(y.size, static_cast<const Bf16*>(x.data), static_cast<Bf16*>(y.data));
}

void gelu_backward_bf16_range(ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) {
  gelu_backward_bf16(dx.size, static_cast<const Bf16*>(x.data), static_cast<const Bf16*>(dy.data),
                     static_cast<Bf16*>(dx.data));
}

bool has_kernels_for(DType dtype) { return dtype == DType::kBF16 && has_bf16_kernels(); }

void copy_range(ConstDeviceSpan from, DeviceSpan to) {
  if (from.data != to.data) std::memmove(to.data, from.data, static_cast<std::size_t>(to.bytes()));
}

}  // namespace

const char* vector_target() { return HWY_DYNAMIC_DISPATCH(target_name)(); }

void zero(ThreadPool& pool, DeviceSpan x) {
  pool.run_ranges(x.size, 16 * kGrain, [&](std::int64_t begin, std::int64_t end) {
    const DeviceSpan part = x.subspan(begin, end - begin);
    std::memset(part.data, 0, static_cast<std::size_t>(part.bytes()));
  });
}

void convert(ThreadPool& pool, ConstDeviceSpan from, DeviceSpan to) {
  require(from.size == to.size, "convert: the spans differ in size");
  if (from.dtype == to.dtype) return run(pool, copy_range, from, to);
  const bool down = from.dtype == DType::kF32 && to.dtype == DType::kBF16;
  const bool up = from.dtype == DType::kBF16 && to.dtype == DType::kF32;
  require(down || up, "convert: only f32 and bf16 convert to each other");
  run(pool, down ? HWY_DYNAMIC_DISPATCH(narrow_range) : HWY_DYNAMIC_DISPATCH(widen_range), from, to);
}

void add(ThreadPool& pool, ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) {
  require(alike(a, y) && alike(b, y), "add: the spans differ in size or type");
  run(pool, HWY_DYNAMIC_DISPATCH(add_range), a, b, y);
}

void relu(ThreadPool& pool, ConstDeviceSpan x, DeviceSpan y) {
  require(alike(x, y), "relu: the spans differ in size or type");
  run(pool, HWY_DYNAMIC_DISPATCH(relu_range), x, y);
}

void relu_backward(ThreadPool& pool, ConstDeviceSpan y, ConstDeviceSpan dy, DeviceSpan dx) {
  require(alike(y, dx) && alike(dy, dx), "relu_backward: the spans differ in size or type");
  run(pool, HWY_DYNAMIC_DISPATCH(relu_backward_range), y, dy, dx);
}

void gelu(ThreadPool& pool, ConstDeviceSpan x, DeviceSpan y) {
  require(alike(x, y), "gelu: the spans differ in size or type");
  run(pool, has_kernels_for(y.dtype) ? gelu_bf16_range : HWY_DYNAMIC_DISPATCH(gelu_range), x, y);
}

void gelu_backward(ThreadPool& pool, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dx) {
  require(alike(x, dx) && alike(dy, dx), "gelu_backward: the spans differ in size or type");
  run(pool, has_kernels_for(dx.dtype) ? gelu_backward_bf16_range : HWY_DYNAMIC_DISPATCH(gelu_backward_range), x, dy,
      dx);
}

}  // namespace ballast
#endif
