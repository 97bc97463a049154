// Defines, once per instruction set: Normalise, Positive, Through: what batch norm and its backward share, so
// that both see the same sign before a relu.
//
// Included by .cc files that Highway compiles once for every instruction set, as simd_inl.h.
#if defined(BALLAST_COMPUTE_CPU_BATCH_NORM_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef BALLAST_COMPUTE_CPU_BATCH_NORM_INL_H
#undef BALLAST_COMPUTE_CPU_BATCH_NORM_INL_H
#else
#define BALLAST_COMPUTE_CPU_BATCH_NORM_INL_H
#endif

#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {

struct Normalise {
  HWY_INLINE Vector operator()(Vector x, Vector mean, Vector scale, Vector beta) const {
    return hn::MulAdd(hn::Sub(x, mean), scale, beta);
  }
};

/// relu; keeps NaN: a comparison with NaN is false.
struct Positive {
  HWY_INLINE Vector operator()(Vector x) const { return hn::IfThenZeroElse(hn::Lt(x, constant(0.0F)), x); }
};

/// dy where relu let y through. `z` is y, or y before relu: the two have the same sign.
struct Through {
  HWY_INLINE Vector operator()(Vector z, Vector dy) const { return hn::IfThenZeroElse(hn::Le(z, constant(0.0F)), dy); }
};

}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#endif
