// Defines: update, update_parts: every optimizer of update.h as one pass over memory.
// Legend: w = value, g = gradient, s0 and s1 = the states in the order of UpdateKind's comments.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/update.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <vector>

#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

/// Where one run of elements stands. What the kind does not have is null and is not touched.
struct Arrays {
  float* w;
  const float* g;
  float* s0;
  float* s1;
  Bf16* compute;
};

/// scale g + l2 w + l1 sign(w), with sign(0) = 0.
HWY_INLINE Vector regularised(const UpdateRule& rule, Vector g, Vector w) {
  const Vector l1 = hn::IfThenZeroElse(hn::Eq(w, constant(0.0F)), hn::CopySign(constant(rule.l1), w));
  return hn::Add(hn::MulAdd(constant(rule.l2), w, hn::Mul(constant(rule.gradient_scale), g)), l1);
}

HWY_INLINE Vector divided_by_root(const UpdateRule& rule, Vector x, Vector v) {
  return hn::Div(x, hn::Add(hn::Sqrt(v), constant(rule.epsilon)));
}

/// direction(g', state) of UpdateKind's comments; updates the states of elements [i, i + lanes()).
template <UpdateKind kKind>
HWY_INLINE Vector direction(const UpdateRule& rule, Vector g, const Arrays& at, std::int64_t i) {
  if constexpr (kKind == UpdateKind::kSgd) {
    return g;
  } else if constexpr (kKind == UpdateKind::kMomentum || kKind == UpdateKind::kNesterov) {
    const Vector m = hn::MulAdd(constant(rule.beta1), load(at.s0 + i), g);
    store(m, at.s0 + i);
    return kKind == UpdateKind::kMomentum ? m : hn::MulAdd(constant(rule.beta1), m, g);
  } else if constexpr (kKind == UpdateKind::kAdaGrad) {
    const Vector v = hn::MulAdd(g, g, load(at.s0 + i));
    store(v, at.s0 + i);
    return divided_by_root(rule, g, v);
  } else if constexpr (kKind == UpdateKind::kRmsProp) {
    const Vector fresh = hn::Mul(constant(1.0F - rule.beta2), hn::Mul(g, g));
    const Vector v = hn::MulAdd(constant(rule.beta2), load(at.s0 + i), fresh);
    store(v, at.s0 + i);
    return divided_by_root(rule, g, v);
  } else {
    const Vector m = hn::MulAdd(constant(rule.beta1), load(at.s0 + i), hn::Mul(constant(1.0F - rule.beta1), g));
    const Vector fresh = hn::Mul(constant(1.0F - rule.beta2), hn::Mul(g, g));
    const Vector v = hn::MulAdd(constant(rule.beta2), load(at.s1 + i), fresh);
    store(m, at.s0 + i);
    store(v, at.s1 + i);
    return divided_by_root(rule, hn::Mul(m, constant(rule.correction1)), hn::Mul(v, constant(rule.correction2)));
  }
}

/// Elements [i, i + lanes()).
template <UpdateKind kKind>
HWY_INLINE void update_vector(const UpdateRule& rule, const Arrays& at, std::int64_t i) {
  Vector w = load(at.w + i);
  const Vector g = load(at.g + i);
  if constexpr (kKind == UpdateKind::kAverage) {
    w = hn::MulAdd(constant(1.0F - rule.beta1), hn::Sub(g, w), w);
  } else {
    const Vector step = direction<kKind>(rule, regularised(rule, g, w), at, i);
    w = hn::NegMulAdd(constant(rule.lr * rule.weight_decay), w, w);
    w = hn::NegMulAdd(constant(rule.lr), step, w);
  }
  store(w, at.w + i);
  if (at.compute != nullptr) store(w, at.compute + i);
}

/// The last elements [i, i + count), fewer than lanes(): the same instructions on padded copies.
template <UpdateKind kKind>
HWY_INLINE void update_rest(const UpdateRule& rule, const Arrays& at, std::int64_t i, std::int64_t count) {
  HWY_ALIGN float padded[4][kMaxLanes] = {};
  HWY_ALIGN Bf16 compute[kMaxLanes] = {};
  std::copy_n(at.w + i, count, padded[0]);
  std::copy_n(at.g + i, count, padded[1]);
  if (at.s0 != nullptr) std::copy_n(at.s0 + i, count, padded[2]);
  if (at.s1 != nullptr) std::copy_n(at.s1 + i, count, padded[3]);
  update_vector<kKind>(rule, {padded[0], padded[1], padded[2], padded[3], compute}, 0);
  std::copy_n(padded[0], count, at.w + i);
  if (at.s0 != nullptr) std::copy_n(padded[2], count, at.s0 + i);
  if (at.s1 != nullptr) std::copy_n(padded[3], count, at.s1 + i);
  if (at.compute != nullptr) std::copy_n(compute, count, at.compute + i);
}

template <UpdateKind kKind>
HWY_INLINE void update_elements(const UpdateRule& rule, const Arrays& at, std::int64_t begin, std::int64_t end) {
  const std::int64_t step = lanes();
  std::int64_t i = begin;
  for (; i + step <= end; i += step) update_vector<kKind>(rule, at, i);
  if (i < end) update_rest<kKind>(rule, at, i, end - i);
}

/// Sums of squares of `now` and of `now - before`.
HWY_INLINE UpdateSums sums_of(std::int64_t size, const float* now, const float* before) {
  constexpr std::int64_t kStep = Squares::kChains;
  Squares values;
  Squares changes;
  float change[kStep];
  std::int64_t i = 0;
  for (; i + kStep <= size; i += kStep) {
    for (std::int64_t c = 0; c < kStep; ++c) change[c] = now[i + c] - before[i + c];
    values.add(now + i);
    changes.add(change);
  }
  for (std::int64_t c = 0; i + c < size; ++c) change[c] = now[i + c] - before[i + c];
  values.add_rest(size - i, now + i);
  changes.add_rest(size - i, change);
  return {values.sum(), changes.sum()};
}

/// The same with sums, over pieces that are small enough for the old values to wait on the stack.
template <UpdateKind kKind>
HWY_INLINE UpdateSums update_and_sum(const UpdateRule& rule, const Arrays& at, std::int64_t size) {
  constexpr std::int64_t kPiece = 512;
  float before[kPiece];
  UpdateSums sums;
  for (std::int64_t begin = 0; begin < size; begin += kPiece) {
    const std::int64_t end = std::min(begin + kPiece, size);
    std::copy(at.w + begin, at.w + end, before);
    update_elements<kKind>(rule, at, begin, end);
    const UpdateSums piece = sums_of(end - begin, at.w + begin, before);
    sums.value_squares += piece.value_squares;
    sums.change_squares += piece.change_squares;
  }
  return sums;
}

template <UpdateKind kKind>
UpdateSums update_kind(const UpdateRule& rule, const Arrays& at, std::int64_t size) {
  if (rule.want_sums) return update_and_sum<kKind>(rule, at, size);
  update_elements<kKind>(rule, at, 0, size);
  return {};
}

UpdateSums update_run(const UpdateRule& rule, const UpdateRun& run) {
  const auto floats = [](DeviceSpan x) { return static_cast<float*>(x.data); };
  const Arrays at{floats(run.value), static_cast<const float*>(run.gradient.data), floats(run.state[0]),
                  floats(run.state[1]), static_cast<Bf16*>(run.compute.data)};
  const std::int64_t size = run.value.size;
  switch (rule.kind) {
    case UpdateKind::kSgd:
      return update_kind<UpdateKind::kSgd>(rule, at, size);
    case UpdateKind::kMomentum:
      return update_kind<UpdateKind::kMomentum>(rule, at, size);
    case UpdateKind::kNesterov:
      return update_kind<UpdateKind::kNesterov>(rule, at, size);
    case UpdateKind::kAdaGrad:
      return update_kind<UpdateKind::kAdaGrad>(rule, at, size);
    case UpdateKind::kRmsProp:
      return update_kind<UpdateKind::kRmsProp>(rule, at, size);
    case UpdateKind::kAdam:
      return update_kind<UpdateKind::kAdam>(rule, at, size);
    case UpdateKind::kAverage:
      return update_kind<UpdateKind::kAverage>(rule, at, size);
  }
  return {};
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(update_run);

namespace {

constexpr std::int64_t kBlock = 8192;  // elements of one partial sum

std::size_t states_of(UpdateKind kind) {
  switch (kind) {
    case UpdateKind::kSgd:
    case UpdateKind::kAverage:
      return 0;
    case UpdateKind::kAdam:
      return 2;
    default:
      return 1;
  }
}

void check_run(const UpdateRule& rule, const UpdateRun& run) {
  const auto is_f32 = [&](ConstDeviceSpan x) { return x.size == run.value.size && x.dtype == DType::kF32; };
  require(is_f32(run.value) && is_f32(run.gradient), "update: value and gradient are not f32 of one size");
  require(run.compute.empty() || (run.compute.size == run.value.size && run.compute.dtype == DType::kBF16),
          "update: the compute copy is not bf16 of the value's size");
  for (std::size_t i = 0; i < states_of(rule.kind); ++i) {
    require(is_f32(run.state[i]), "update: a state is not f32 of the value's size");
  }
}

/// Elements [begin, end) of a run; states that the kind does not have become empty.
UpdateRun part_of(const UpdateRun& run, std::size_t states, std::int64_t begin, std::int64_t end) {
  UpdateRun part;
  part.value = run.value.subspan(begin, end - begin);
  part.gradient = run.gradient.subspan(begin, end - begin);
  if (!run.compute.empty()) part.compute = run.compute.subspan(begin, end - begin);
  for (std::size_t i = 0; i < states; ++i) part.state[i] = run.state[i].subspan(begin, end - begin);
  return part;
}

UpdateRun part_of(const UpdateRun& run, const UpdateRule& rule, const ElementRange& part) {
  return part_of(run, states_of(rule.kind), part.begin, part.end);
}

}  // namespace

void update_parts(ThreadPool& pool, const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                  std::span<UpdateSums> sums) {
  check_run(rule, run);
  require(parts.size() == sums.size(), "update_parts: parts and sums differ in number");
  for (const auto& [begin, end] : parts) {
    require(0 <= begin && begin <= end && end <= run.value.size && end - begin <= kBlock,
            "update_parts: a part is not inside the run or has more than 8192 elements");
  }
  UpdateRule with_sums = rule;
  with_sums.want_sums = true;
  const auto kernel = HWY_DYNAMIC_DISPATCH(update_run);
  constexpr std::int64_t kPartsOfTask = 4;
  pool.run_ranges(static_cast<std::int64_t>(parts.size()), kPartsOfTask, [&](std::int64_t first, std::int64_t last) {
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
      sums[i] = kernel(with_sums, part_of(run, with_sums, parts[i]));
    }
  });
}

UpdateSums update(ThreadPool& pool, const UpdateRule& rule, const UpdateRun& run) {
  check_run(rule, run);
  ScratchArray<UpdateSums> partials(pool.scratch(), (run.value.size + kBlock - 1) / kBlock);
  const std::size_t states = states_of(rule.kind);
  const auto kernel = HWY_DYNAMIC_DISPATCH(update_run);
  pool.run_ranges(run.value.size, 4 * kBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; block += kBlock) {
      const UpdateRun part = part_of(run, states, block, std::min(block + kBlock, end));
      partials[static_cast<std::size_t>(block / kBlock)] = kernel(rule, part);
    }
  });
  UpdateSums sums;
  for (const UpdateSums& partial : partials) {
    sums.value_squares += partial.value_squares;
    sums.change_squares += partial.change_squares;
  }
  return sums;
}

}  // namespace ballast
#endif
