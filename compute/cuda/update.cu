// Defines: update, update_parts: every optimizer of compute/update.h as one pass over memory.
// Legend: w = value, g = gradient, s0 and s1 = the states in the order of UpdateKind's comments.
//
// Bytes of an element, AdamW with a bf16 copy: read w, g, m, v (16), write w, m, v (12) and the copy (2).
#include "compute/cuda/kernels.h"
#include "compute/cuda/piece_kernels.h"
#include "compute/cuda/prelude.h"
#include "compute/cuda/runs.h"

namespace ballast::cuda {

namespace {

/// Where a run of values stands. What the kind does not have is null and is not touched.
struct Arrays {
  float* w;
  const float* g;
  float* s0;
  float* s1;
  Bf16* compute;
};

__host__ __device__ constexpr int states_of(UpdateKind kind) {
  if (kind == UpdateKind::kSgd || kind == UpdateKind::kAverage) return 0;
  return kind == UpdateKind::kAdam ? 2 : 1;
}

/// scale g + l2 w + l1 sign(w), with sign(0) = 0.
__device__ __forceinline__ float regularised(const UpdateRule& rule, float g, float w) {
  const float l1 = w == 0.0F ? 0.0F : copysignf(rule.l1, w);
  return fmaf(rule.l2, w, rule.gradient_scale * g) + l1;
}

__device__ __forceinline__ float divided_by_root(const UpdateRule& rule, float x, float v) {
  return x / (sqrtf(v) + rule.epsilon);
}

/// old + (1 - beta2) g^2, decayed.
__device__ __forceinline__ float mean_square(const UpdateRule& rule, float g, float v) {
  return fmaf(rule.beta2, v, (1.0F - rule.beta2) * (g * g));
}

/// direction(g', state) of UpdateKind's comments; updates the states.
template <UpdateKind kKind>
__device__ __forceinline__ float direction(const UpdateRule& rule, float g, float& s0, float& s1) {
  if constexpr (kKind == UpdateKind::kSgd) {
    return g;
  } else if constexpr (kKind == UpdateKind::kMomentum || kKind == UpdateKind::kNesterov) {
    s0 = fmaf(rule.beta1, s0, g);
    return kKind == UpdateKind::kMomentum ? s0 : fmaf(rule.beta1, s0, g);
  } else if constexpr (kKind == UpdateKind::kAdaGrad) {
    s0 = fmaf(g, g, s0);
    return divided_by_root(rule, g, s0);
  } else if constexpr (kKind == UpdateKind::kRmsProp) {
    s0 = mean_square(rule, g, s0);
    return divided_by_root(rule, g, s0);
  } else {
    s0 = fmaf(rule.beta1, s0, (1.0F - rule.beta1) * g);
    s1 = mean_square(rule, g, s1);
    return divided_by_root(rule, s0 * rule.correction1, s1 * rule.correction2);
  }
}

template <UpdateKind kKind>
__device__ __forceinline__ float updated(const UpdateRule& rule, float w, float g, float& s0, float& s1) {
  if constexpr (kKind == UpdateKind::kAverage) {
    return fmaf(1.0F - rule.beta1, g - w, w);
  } else {
    const float step = direction<kKind>(rule, regularised(rule, g, w), s0, s1);
    const float decayed = fmaf(-(rule.lr * rule.weight_decay), w, w);
    return fmaf(-rule.lr, step, decayed);
  }
}

/// The elements from `at` that one thread handles at once. Adds to `sums`.
template <UpdateKind kKind>
__device__ __forceinline__ void update_run(const UpdateRule& rule, const Arrays& arrays, std::int64_t at,
                                           std::int64_t count, bool aligned, UpdateSums& sums) {
  float w[kPieceRun];
  float g[kPieceRun];
  float s0[kPieceRun] = {};
  float s1[kPieceRun] = {};
  load_run(arrays.w + at, count, aligned, w);
  load_run(arrays.g + at, count, aligned, g);
  if constexpr (states_of(kKind) > 0) load_run(arrays.s0 + at, count, aligned, s0);
  if constexpr (states_of(kKind) > 1) load_run(arrays.s1 + at, count, aligned, s1);
#pragma unroll
  for (int i = 0; i < kPieceRun; ++i) {
    const float before = w[i];
    w[i] = updated<kKind>(rule, before, g[i], s0[i], s1[i]);
    if (!rule.want_sums || i >= count) continue;
    const auto change = static_cast<double>(w[i] - before);
    sums.value_squares += static_cast<double>(w[i]) * static_cast<double>(w[i]);
    sums.change_squares += change * change;
  }
  store_run(w, count, aligned, arrays.w + at);
  if constexpr (states_of(kKind) > 0) store_run(s0, count, aligned, arrays.s0 + at);
  if constexpr (states_of(kKind) > 1) store_run(s1, count, aligned, arrays.s1 + at);
  if (arrays.compute != nullptr) store_run(w, count, aligned, arrays.compute + at);
}

struct Totals {
  WarpTotals values, changes;
};

/// Updates every piece; sums[piece] where the rule wants sums.
/// Cost of an element by AdamW, with a bf16 copy: 30 bytes, 20 (with sums 25) FLOPs.
template <UpdateKind kKind>
__global__ void __launch_bounds__(kPieceThreads) update_pieces(const __grid_constant__ UpdateRule rule, Arrays arrays,
                                                               Pieces pieces, bool aligned, UpdateSums* sums) {
  auto& totals = block_shared<Totals>();
  const ElementRange piece = piece_of_block(pieces);
  const bool whole = aligned && piece.begin % kPieceRun == 0;
  UpdateSums mine;
  for (std::int64_t at = piece.begin + threadIdx.x * kPieceRun; at < piece.end; at += kPieceThreads * kPieceRun) {
    update_run<kKind>(rule, arrays, at, piece.end - at, whole, mine);
  }
  if (!rule.want_sums) return;  // the same for all threads
  const double values = add_block(mine.value_squares, totals.values);
  const double changes = add_block(mine.change_squares, totals.changes);
  if (threadIdx.x == 0) sums[blockIdx.x] = {values, changes};
}

using Kernel = void (*)(UpdateRule, Arrays, Pieces, bool, UpdateSums*);

Kernel kernel_of(UpdateKind kind) {
  switch (kind) {
    case UpdateKind::kSgd:
      return update_pieces<UpdateKind::kSgd>;
    case UpdateKind::kMomentum:
      return update_pieces<UpdateKind::kMomentum>;
    case UpdateKind::kNesterov:
      return update_pieces<UpdateKind::kNesterov>;
    case UpdateKind::kAdaGrad:
      return update_pieces<UpdateKind::kAdaGrad>;
    case UpdateKind::kRmsProp:
      return update_pieces<UpdateKind::kRmsProp>;
    case UpdateKind::kAdam:
      return update_pieces<UpdateKind::kAdam>;
    case UpdateKind::kAverage:
      return update_pieces<UpdateKind::kAverage>;
  }
  throw Error("update: an unknown kind of update");
}

void check_run(const UpdateRule& rule, const UpdateRun& run) {
  const auto is_f32 = [&](ConstDeviceSpan x) { return x.size == run.value.size && x.dtype == DType::kF32; };
  require(is_f32(run.value) && is_f32(run.gradient), "update: value and gradient are not f32 of one size");
  require(run.compute.empty() || (run.compute.size == run.value.size && run.compute.dtype == DType::kBF16),
          "update: the compute copy is not bf16 of the value's size");
  for (int i = 0; i < states_of(rule.kind); ++i) {
    require(is_f32(run.state[static_cast<std::size_t>(i)]), "update: a state is not f32 of the value's size");
  }
}

/// The arrays of a run, and whether all of them can be loaded 16 bytes (the copy: 8 bytes) at a time.
std::pair<Arrays, bool> arrays_of(const UpdateRule& rule, const UpdateRun& run) {
  const auto state = [&](int i) {
    return i < states_of(rule.kind) ? static_cast<float*>(run.state[static_cast<std::size_t>(i)].data) : nullptr;
  };
  const Arrays arrays{static_cast<float*>(run.value.data), static_cast<const float*>(run.gradient.data), state(0),
                      state(1), run.compute.empty() ? nullptr : static_cast<Bf16*>(run.compute.data)};
  const bool copy_aligned = reinterpret_cast<std::uintptr_t>(arrays.compute) % 8 == 0;
  return {arrays, copy_aligned && all_aligned({arrays.w, arrays.g, arrays.s0, arrays.s1})};
}

void run_pieces(Queue& queue, const UpdateRule& rule, const UpdateRun& run, dim3 grid, const Pieces& pieces,
                UpdateSums* sums) {
  const auto [arrays, aligned] = arrays_of(rule, run);
  launch(grid, kPieceThreads, 0, queue.stream(), kernel_of(rule.kind), rule, arrays, pieces, aligned, sums);
}

/// The same, and adds the sums of pieces to those of their parts once they are on the host.
void run_and_add_up(Queue& queue, const UpdateRule& rule, const UpdateRun& run, const PieceList& list,
                    std::span<UpdateSums> of_parts) {
  const auto bytes = list.count() * static_cast<std::int64_t>(sizeof(UpdateSums));
  const auto [pieces, results] = list.on_device(queue, bytes);
  run_pieces(queue, rule, run, list.grid(), pieces, static_cast<UpdateSums*>(results));
  queue.return_later(results, static_cast<std::size_t>(bytes),
                     [owners = list.owners(), of_parts](const std::byte* returned) {
                       const auto* const sums = reinterpret_cast<const UpdateSums*>(returned);
                       for (std::size_t i = 0; i < owners.size(); ++i) {
                         UpdateSums& total = of_parts[static_cast<std::size_t>(owners[i])];
                         total.value_squares += sums[i].value_squares;
                         total.change_squares += sums[i].change_squares;
                       }
                     });
}

}  // namespace

UpdateSums update(Queue& queue, const UpdateRule& rule, const UpdateRun& run) {
  check_run(rule, run);
  UpdateSums total;
  if (run.value.empty()) return total;
  const PieceList list = PieceList::whole(run.value.size);
  if (!rule.want_sums) {
    run_pieces(queue, rule, run, list.grid(), Pieces{nullptr, run.value.size}, nullptr);
    return total;
  }
  run_and_add_up(queue, rule, run, list, {&total, 1});
  queue.synchronize();
  return total;
}

void update_parts(Queue& queue, const UpdateRule& rule, const UpdateRun& run, std::span<const ElementRange> parts,
                  std::span<UpdateSums> sums) {
  check_run(rule, run);
  require(parts.size() == sums.size(), "update_parts: parts and sums differ in number");
  for (const auto& [begin, end] : parts) {
    require(0 <= begin && begin <= end && end <= run.value.size && end - begin <= kPieceElements,
            "update_parts: a part is not inside the run or has more than 8192 elements");
  }
  std::fill(sums.begin(), sums.end(), UpdateSums{});
  const PieceList list = PieceList::of_parts(parts);
  if (list.count() == 0) return;
  UpdateRule with_sums = rule;
  with_sums.want_sums = true;
  run_and_add_up(queue, with_sums, run, list, sums);
}

}  // namespace ballast::cuda
