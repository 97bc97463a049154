// Compiled for AVX512-BF16: as bf16_gemm_avx512.cc, it may share nothing with other sources.
#include <immintrin.h>

#include "compute/cpu/bf16_rows.h"

namespace ballast {

namespace {

constexpr std::int64_t kLanes = 16;
constexpr float kLog2E = 1.44269504F;

/// All lanes, or the first `count` of the last vector of a row: stores under a mask are slow on some processors.
struct All {};
struct Some {
  __mmask16 valid;
  explicit Some(std::int64_t count) : valid(static_cast<__mmask16>((1U << count) - 1U)) {}
};

__m512 load(const float* from, All) { return _mm512_loadu_ps(from); }
__m512 load(const float* from, Some lanes) { return _mm512_maskz_loadu_ps(lanes.valid, from); }
__m512 widen(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
__m512 load(const Bf16* from, All) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))); }
__m512 load(const Bf16* from, Some lanes) { return widen(_mm256_maskz_loadu_epi16(lanes.valid, from)); }

__m256i narrow(__m512 x) { return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)); }
void store(__m512 x, Bf16* to, All) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow(x)); }
void store(__m512 x, Bf16* to, Some lanes) { _mm256_mask_storeu_epi16(to, lanes.valid, narrow(x)); }

__m512 add(__m512 total, __m512 x, All) { return _mm512_add_ps(total, x); }
__m512 add(__m512 total, __m512 x, Some lanes) { return _mm512_mask_add_ps(total, lanes.valid, total, x); }

/// Calls body(first element, lanes) for every vector of a row.
template <class Body>
__attribute__((always_inline)) inline void for_vectors(std::int64_t size, const Body& body) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) body(i, All());
  if (i < size) body(i, Some(size - i));
}

/// 2^x to 3e-7 of it: 2^floor(x) times 1 + f p(f) for the fraction f, where p interpolates (2^f - 1) / f at the
/// Chebyshev nodes of [0, 1]. Below and above what f32 holds it is 0 and infinity; NaN for NaN.
__m512 exp2(__m512 x) {
  constexpr int kBelow = 0x09;  // what is left of x above the whole number below it
  const __m512 f = _mm512_reduce_ps(x, kBelow);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.0017883687F), f, _mm512_set1_ps(0.0091993876F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0556570544F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.2402071942F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.6931475676F));
  return _mm512_scalef_ps(_mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0F)), x);
}

// --- GELU
// -------------------------------------------------------------------------------------------------------------

constexpr float kRootTwoOverPi = 0.7978845608F;
constexpr float kCubic = 0.044715F;
constexpr float kBound = 9.5F;

/// x within [-kBound, kBound]: beyond, the gate is 0 or 1 to 1e-33. The order of the operands keeps NaN.
__m512 bounded(__m512 x) { return _mm512_max_ps(_mm512_set1_ps(-kBound), _mm512_min_ps(_mm512_set1_ps(kBound), x)); }

/// exp(-2u) for u = sqrt(2 / pi) (x + 0.044715 x^3). The gate (1 + tanh u) / 2 is 1 / (1 + exp(-2u)).
__m512 exp_minus_two_u(__m512 x, __m512 x_squared) {
  constexpr float kLinear = -2.0F * kRootTwoOverPi * kLog2E;
  return exp2(_mm512_mul_ps(x, _mm512_fmadd_ps(_mm512_set1_ps(kLinear * kCubic), x_squared, _mm512_set1_ps(kLinear))));
}

__m512 gelu(__m512 x) {
  const __m512 inner = bounded(x);
  const __m512 e = exp_minus_two_u(inner, _mm512_mul_ps(inner, inner));
  const __m512 gate = _mm512_rcp14_ps(_mm512_add_ps(_mm512_set1_ps(1.0F), e));
  return _mm512_mul_ps(_mm512_max_ps(_mm512_set1_ps(-kBound), x), gate);
}

/// d/dx of x s = s + x s (1 - s) d(2u)/dx for the gate s, with s (1 - s) = e s^2: no difference of numbers near 1.
__m512 gelu_slope(__m512 x) {
  const __m512 inner = bounded(x);
  const __m512 x_squared = _mm512_mul_ps(inner, inner);
  const __m512 e = exp_minus_two_u(inner, x_squared);
  const __m512 d = _mm512_add_ps(_mm512_set1_ps(1.0F), e);
  // One step of Newton's method: the two terms cancel where the slope is zero.
  const __m512 guess = _mm512_rcp14_ps(d);
  const __m512 s = _mm512_mul_ps(guess, _mm512_fnmadd_ps(d, guess, _mm512_set1_ps(2.0F)));
  const __m512 du =
      _mm512_fmadd_ps(_mm512_set1_ps(6.0F * kRootTwoOverPi * kCubic), x_squared, _mm512_set1_ps(2.0F * kRootTwoOverPi));
  const __m512 es2 = _mm512_mul_ps(_mm512_mul_ps(e, s), s);
  return _mm512_fmadd_ps(es2, _mm512_mul_ps(inner, du), s);
}

// --- attention
// --------------------------------------------------------------------------------------------------------

/// The largest of `seen` scores. Takes no notice of NaN, which shows in the sum.
float largest(std::int64_t seen, const float* scores) {
  const __m512 lowest = _mm512_set1_ps(-__builtin_inff());
  __m512 top = lowest;
  std::int64_t i = 0;
  for (; i + kLanes <= seen; i += kLanes) top = _mm512_max_ps(top, _mm512_loadu_ps(scores + i));
  if (i < seen) top = _mm512_max_ps(top, _mm512_mask_loadu_ps(lowest, Some(seen - i).valid, scores + i));
  return _mm512_reduce_max_ps(top);
}

void clear(Bf16* row, std::int64_t from, std::int64_t to) {
  for (std::int64_t i = from; i < to; ++i) row[i] = 0;
}

constexpr std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

}  // namespace

void gelu_bf16(std::int64_t size, const Bf16* x, Bf16* y) {
  for_vectors(size, [&](std::int64_t i, auto lanes) { store(gelu(load(x + i, lanes)), y + i, lanes); });
}

void gelu_backward_bf16(std::int64_t size, const Bf16* x, const Bf16* dy, Bf16* dx) {
  for_vectors(size, [&](std::int64_t i, auto lanes) {
    store(_mm512_mul_ps(load(dy + i, lanes), gelu_slope(load(x + i, lanes))), dx + i, lanes);
  });
}

void softmax_rows_bf16(const SoftmaxRows& shape, const float* scores, Bf16* p, float* tops, float* totals) {
  const __m512 factor = _mm512_set1_ps(shape.scale * kLog2E);
  for (std::int64_t r = 0; r < shape.rows; ++r, scores += shape.stride, p += shape.stride) {
    const std::int64_t seen = least(shape.keys, shape.first + r + 1);
    const float top = largest(seen, scores);
    const __m512 tops_of_row = _mm512_set1_ps(top);
    __m512 total = _mm512_setzero_ps();
    for_vectors(seen, [&](std::int64_t i, auto lanes) {
      const __m512 e = exp2(_mm512_mul_ps(_mm512_sub_ps(load(scores + i, lanes), tops_of_row), factor));
      total = add(total, e, lanes);
      store(e, p + i, lanes);
    });
    clear(p, seen, shape.keys);
    tops[r] = top;
    totals[r] = _mm512_reduce_add_ps(total);
  }
}

void gradient_rows_bf16(const SoftmaxRows& shape, const float* scores, const float* dp, const float* log_sum_exp,
                        const float* dots, Bf16* p, Bf16* ds) {
  const __m512 factor = _mm512_set1_ps(shape.scale * kLog2E);
  const std::int64_t stride = shape.stride;
  for (std::int64_t r = 0; r < shape.rows; ++r, scores += stride, dp += stride, p += stride, ds += stride) {
    const std::int64_t seen = least(shape.keys, shape.first + r + 1);
    const __m512 shift = _mm512_set1_ps(log_sum_exp[r] * kLog2E);
    const __m512 dot = _mm512_set1_ps(dots[r]);
    for_vectors(seen, [&](std::int64_t i, auto lanes) {
      const __m512 e = exp2(_mm512_fmsub_ps(load(scores + i, lanes), factor, shift));
      store(e, p + i, lanes);
      store(_mm512_mul_ps(e, _mm512_sub_ps(load(dp + i, lanes), dot)), ds + i, lanes);
    });
    clear(p, seen, shape.keys);
    clear(ds, seen, shape.keys);
  }
}

void dot_rows_bf16(std::int64_t rows, std::int64_t width, const Bf16* a, const Bf16* b, std::int64_t stride,
                   float* dots) {
  for (std::int64_t r = 0; r < rows; ++r, a += stride, b += stride) {
    __m512 sum = _mm512_setzero_ps();
    for_vectors(
        width, [&](std::int64_t i, auto lanes) { sum = _mm512_fmadd_ps(load(a + i, lanes), load(b + i, lanes), sum); });
    dots[r] = _mm512_reduce_add_ps(sum);
  }
}

void round_rows_bf16(std::int64_t rows, std::int64_t width, const float* from, const float* factors, float factor,
                     Bf16* to, std::int64_t stride) {
  for (std::int64_t r = 0; r < rows; ++r, from += width, to += stride) {
    const __m512 of_row = _mm512_set1_ps(factors == nullptr ? factor : factors[r]);
    for_vectors(
        width, [&](std::int64_t i, auto lanes) { store(_mm512_mul_ps(load(from + i, lanes), of_row), to + i, lanes); });
  }
}

}  // namespace ballast
