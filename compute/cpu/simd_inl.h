// Defines, once per instruction set: Vector, load, store, exp_f32, exp_bounded_f32, map, sum, largest, add_rows,
// squares_f64: what the kernels are made of.
//
// Included by .cc files that Highway compiles once for every instruction set (foreach_target.h), hence the guard that
// toggles. Two rules keep bits independent of where an element stands:
//  * the last, incomplete vector of a span goes through the same instructions as the others, in padded copies;
//  * nothing looks at the alignment of an address.
// Only operations that Highway 0.16 has are used.
#if defined(BALLAST_COMPUTE_CPU_SIMD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef BALLAST_COMPUTE_CPU_SIMD_INL_H
#undef BALLAST_COMPUTE_CPU_SIMD_INL_H
#else
#define BALLAST_COMPUTE_CPU_SIMD_INL_H
#endif

#include <algorithm>
#include <cstdint>
#include <limits>

#include "compute/cpu/bf16.h"
#include "compute/tensor.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using U16 = hn::Rebind<std::uint16_t, F32>;
using Vector = hn::Vec<F32>;

/// Lanes of the widest vector that exists (2048-bit SVE): the size of padded copies.
inline constexpr std::int64_t kMaxLanes = 64;

HWY_INLINE std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(F32())); }
HWY_INLINE Vector constant(float x) { return hn::Set(F32(), x); }

HWY_INLINE Vector load(const float* from) { return hn::LoadU(F32(), from); }
HWY_INLINE Vector load(const Bf16* from) {
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), hn::LoadU(U16(), from))));
}

HWY_INLINE void store(Vector x, float* to) { hn::StoreU(x, F32(), to); }
/// Rounds as narrow() of bf16.h.
HWY_INLINE void store(Vector x, Bf16* to) {
  const U32 u;
  const I32 i;
  const auto bits = hn::BitCast(u, x);
  const auto upper = hn::ShiftRight<16>(bits);
  const auto bias = hn::Add(hn::Set(u, 0x7FFFU), hn::And(upper, hn::Set(u, 1U)));
  const auto rounded = hn::BitCast(i, hn::ShiftRight<16>(hn::Add(bits, bias)));
  const auto quiet = hn::BitCast(i, hn::Or(upper, hn::Set(u, 0x40U)));
  const auto is_number = hn::RebindMask(i, hn::Eq(x, x));
  hn::StoreU(hn::DemoteTo(U16(), hn::IfThenElse(is_number, rounded, quiet)), U16(), to);
}

/// The first `count` < lanes() elements; the other lanes hold `fill`.
template <class T>
HWY_INLINE Vector load_part(const T* from, std::int64_t count, T fill = T{}) {
  HWY_ALIGN T padded[kMaxLanes];
  std::fill_n(padded, kMaxLanes, fill);
  std::copy_n(from, count, padded);
  return load(padded);
}

template <class T>
HWY_INLINE void store_part(Vector x, T* to, std::int64_t count) {
  HWY_ALIGN T padded[kMaxLanes];
  store(x, padded);
  std::copy_n(padded, count, to);
}

/// e^r for e^x = 2^q e^r, where q = round(x / ln 2) and so |r| <= ln 2 / 2; q goes to `exponent`. For |x| < 1000.
/// e^r = 1 + r + r^2 p(r), where p interpolates (e^r - 1 - r) / r^2 at the Chebyshev nodes.
HWY_INLINE Vector exp_mantissa(Vector x, hn::Vec<I32>& exponent) {
  exponent = hn::NearestInt(hn::Mul(x, constant(1.44269504F)));
  const Vector q = hn::ConvertTo(F32(), exponent);
  // ln 2 in two parts: q times the first is exact.
  const Vector r = hn::MulAdd(q, constant(-1.42860682e-06F), hn::MulAdd(q, constant(-0.693145751953125F), x));
  Vector p = hn::MulAdd(constant(0.0013926326F), r, constant(0.0083632926F));
  p = hn::MulAdd(p, r, constant(0.0416665524F));
  p = hn::MulAdd(p, r, constant(0.1666657627F));
  p = hn::MulAdd(p, r, constant(0.5F));
  return hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), constant(1.0F));
}

/// 2^q for -127 < q < 128.
HWY_INLINE Vector power_of_two(hn::Vec<I32> q) {
  return hn::BitCast(F32(), hn::ShiftLeft<23>(hn::Add(q, hn::Set(I32(), 127))));
}

/// e^x to about 1 ulp; NaN for NaN, infinity above 88.8, gradual underflow to zero at -104.
HWY_INLINE Vector exp_f32(Vector x) {
  hn::Vec<I32> q;
  const Vector mantissa = exp_mantissa(hn::Min(hn::Max(x, constant(-104.0F)), constant(89.0F)), q);
  // In two factors: q may be beyond the range of one exponent.
  const auto half = hn::ShiftRight<1>(q);
  const Vector e = hn::Mul(hn::Mul(mantissa, power_of_two(half)), power_of_two(hn::Sub(q, half)));
  return hn::IfThenElse(hn::Eq(x, x), e, x);
}

/// The same for |x| <= 87 or NaN, in two thirds of the time.
HWY_INLINE Vector exp_bounded_f32(Vector x) {
  hn::Vec<I32> q;
  const Vector mantissa = exp_mantissa(x, q);
  return hn::Mul(mantissa, power_of_two(q));
}

/// out[i] = op(in[i]...) for i in [0, n). `out` may be one of the inputs, element for element.
template <class Op, class Out, class... In>
HWY_INLINE void map(const Op& op, std::int64_t n, Out* out, const In*... in) {
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + step <= n; i += step) store(op(load(in + i)...), out + i);
  if (i < n) store_part(op(load_part(in + i, n - i)...), out + i, n - i);
}

/// map over spans of one element type, f32 or bf16.
template <class Op, class... In>
HWY_INLINE void map_spans(const Op& op, DeviceSpan out, In... in) {
  if (out.dtype == DType::kBF16) {
    map(op, out.size, static_cast<Bf16*>(out.data), static_cast<const Bf16*>(in.data)...);
  } else {
    map(op, out.size, static_cast<float*>(out.data), static_cast<const float*>(in.data)...);
  }
}

/// Sum of op(in[i]...) over i in [0, n): four chains of vectors, added in one order that n fixes.
template <class Op, class... In>
HWY_INLINE float sum(const Op& op, std::int64_t n, const In*... in) {
  const F32 d;
  const std::int64_t step = lanes();
  Vector s0 = hn::Zero(d);
  Vector s1 = s0;
  Vector s2 = s0;
  Vector s3 = s0;
  std::int64_t i = 0;
  for (; i + 4 * step <= n; i += 4 * step) {
    s0 = hn::Add(s0, op(load(in + i)...));
    s1 = hn::Add(s1, op(load(in + i + step)...));
    s2 = hn::Add(s2, op(load(in + i + 2 * step)...));
    s3 = hn::Add(s3, op(load(in + i + 3 * step)...));
  }
  for (; i + step <= n; i += step) s0 = hn::Add(s0, op(load(in + i)...));
  if (i < n) {
    const auto valid = hn::FirstN(d, static_cast<std::size_t>(n - i));
    s1 = hn::Add(s1, hn::IfThenElseZero(valid, op(load_part(in + i, n - i)...)));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

/// Largest of x[0, n); minus infinity for n = 0. NaNs are not found here: they show in the sums that follow.
template <class T>
HWY_INLINE float largest(std::int64_t n, const T* x) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  const std::int64_t step = lanes();
  Vector m0 = constant(kLowest);
  Vector m1 = m0;
  std::int64_t i = 0;
  for (; i + 2 * step <= n; i += 2 * step) {
    m0 = hn::Max(m0, load(x + i));
    m1 = hn::Max(m1, load(x + i + step));
  }
  for (; i + step <= n; i += step) m0 = hn::Max(m0, load(x + i));
  if (i < n) {
    const T fill = sizeof(T) == sizeof(Bf16) ? static_cast<T>(narrow(kLowest)) : static_cast<T>(kLowest);
    m1 = hn::Max(m1, load_part(x + i, n - i, fill));
  }
  return hn::GetLane(hn::MaxOfLanes(F32(), hn::Max(m0, m1)));
}

struct AddOne {
  HWY_INLINE Vector operator()(Vector a, Vector b) const { return hn::Add(a, b); }
};

struct AddFour {
  HWY_INLINE Vector operator()(Vector a, Vector b, Vector c, Vector d, Vector e) const {
    return hn::Add(a, hn::Add(hn::Add(b, c), hn::Add(d, e)));
  }
};

/// sums_C += the rows of x_RC; four rows at a time, so the sums are read and written a quarter as often.
template <class T>
HWY_INLINE void add_rows(std::int64_t rows, std::int64_t columns, const T* x, float* sums) {
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {
    const T* row = x + r * columns;
    map(AddFour(), columns, sums, sums, row, row + columns, row + 2 * columns, row + 3 * columns);
  }
  for (; r < rows; ++r) map(AddOne(), columns, sums, sums, x + r * columns);
}

/// A sum of squares in f64 that grows. Sixteen chains, which a compiler turns into vectors: the same bits on every
/// instruction set. Two chains of vectors are fewer than an addition takes cycles, so who has other work to do in the
/// same loop gets the squares almost for nothing.
struct Squares {
  static constexpr std::int64_t kChains = 16;
  double chains[kChains] = {};

  HWY_INLINE void add(const float* x) {
    for (std::int64_t c = 0; c < kChains; ++c) chains[c] += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  }
  /// The last ones, fewer than kChains.
  HWY_INLINE void add_rest(std::int64_t n, const float* x) {
    for (std::int64_t c = 0; c < n; ++c) chains[c] += static_cast<double>(x[c]) * static_cast<double>(x[c]);
  }
  HWY_INLINE double sum() {
    for (std::int64_t half = kChains / 2; half > 0; half /= 2) {
      for (std::int64_t c = 0; c < half; ++c) chains[c] += chains[c + half];
    }
    return chains[0];
  }
};

/// Sum of squares of x[0, n) in f64.
HWY_INLINE double squares_f64(std::int64_t n, const float* x) {
  Squares squares;
  std::int64_t i = 0;
  for (; i + Squares::kChains <= n; i += Squares::kChains) squares.add(x + i);
  squares.add_rest(n - i, x + i);
  return squares.sum();
}

}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#endif
