// Defines: ordered_sum, sum_of_squares.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/reduction.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <cstring>
#include <vector>

#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

struct AddPairs {
  HWY_INLINE Vector operator()(Vector a, Vector b, Vector c, Vector d) const {
    return hn::Add(hn::Add(a, b), hn::Add(c, d));
  }
};

void add_two(std::int64_t n, const float* a, const float* b, float* sum) { map(AddOne(), n, sum, a, b); }

/// (a + b) + (c + d).
void add_pairs(std::int64_t n, const float* const* addends, float* sum) {
  map(AddPairs(), n, sum, addends[0], addends[1], addends[2], addends[3]);
}

double squares(std::int64_t n, const float* x) { return squares_f64(n, x); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(add_two);
HWY_EXPORT(add_pairs);
HWY_EXPORT(squares);

namespace {

constexpr std::int64_t kChunk = 4096;  // floats, so that the partial sums of a tree stay in the first cache
constexpr std::int64_t kBlock = 8192;  // floats of one f64 partial sum

/// Partial sums that the program holds at once. Throws Error for a program that does not add up to one sum.
std::size_t deepest(std::span<const ConstDeviceSpan> addends, std::span<const int> tree) {
  std::size_t depth = 0;
  std::size_t most = 0;
  for (const int step : tree) {
    require(step >= -1 && step < static_cast<int>(addends.size()),
            "ordered_sum: the tree names an addend that is not there");
    require(step >= 0 || depth >= 2, "ordered_sum: the tree adds before there are two addends");
    depth = step >= 0 ? depth + 1 : depth - 1;
    most = std::max(most, depth);
  }
  require(depth == 1, "ordered_sum: the tree does not end in one sum");
  return most;
}

/// Runs the program on elements [begin, end). `scratch` holds kChunk floats per level.
void add_chunk(std::span<const ConstDeviceSpan> addends, std::span<const int> tree, float* sum, std::int64_t begin,
               std::int64_t end, std::vector<const float*>& stack, std::vector<float>& scratch) {
  const auto add = HWY_DYNAMIC_DISPATCH(add_two);
  stack.clear();
  for (std::size_t i = 0; i < tree.size(); ++i) {
    if (tree[i] >= 0) {
      stack.push_back(static_cast<const float*>(addends[static_cast<std::size_t>(tree[i])].data) + begin);
      continue;
    }
    const float* const b = stack.back();
    stack.pop_back();
    // Only the last addition may write to `sum`: until then it can be an addend that is still to be read.
    float* const to = i + 1 == tree.size() ? sum + begin : scratch.data() + (stack.size() - 1) * kChunk;
    add(end - begin, stack.back(), b, to);
    stack.back() = to;
  }
  if (tree.size() == 1 && stack.back() != sum + begin) {
    std::memmove(sum + begin, stack.back(), static_cast<std::size_t>(end - begin) * sizeof(float));
  }
}

bool is_pair_of_pairs(std::span<const int> tree) {
  return tree.size() == 7 && tree[0] >= 0 && tree[1] >= 0 && tree[2] < 0 && tree[3] >= 0 && tree[4] >= 0;
}

}  // namespace

void ordered_sum(ThreadPool& pool, std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                 DeviceSpan sum) {
  const std::size_t levels = deepest(addends, tree);
  require(sum.dtype == DType::kF32, "ordered_sum: the sum is not f32");
  for (const ConstDeviceSpan& addend : addends) {
    require(addend.size == sum.size && addend.dtype == DType::kF32,
            "ordered_sum: an addend differs from the sum in size or type");
  }
  auto* const to = static_cast<float*>(sum.data);
  const bool pairs = is_pair_of_pairs(tree);
  pool.run_ranges(sum.size, 8 * kChunk, [&](std::int64_t begin, std::int64_t end) {
    if (pairs) {
      const auto from = [&](std::size_t i) {
        return static_cast<const float*>(addends[static_cast<std::size_t>(tree[i])].data) + begin;
      };
      const float* const four[] = {from(0), from(1), from(3), from(4)};
      return HWY_DYNAMIC_DISPATCH(add_pairs)(end - begin, four, to + begin);
    }
    std::vector<const float*> stack;
    std::vector<float> scratch(levels > 2 || tree.size() > 3 ? levels * kChunk : 0);
    for (std::int64_t chunk = begin; chunk < end; chunk += kChunk) {
      add_chunk(addends, tree, to, chunk, std::min(chunk + kChunk, end), stack, scratch);
    }
  });
}

double sum_of_squares(ThreadPool& pool, ConstDeviceSpan x) {
  require(x.dtype == DType::kF32, "sum_of_squares: x is not f32");
  std::vector<double> partials(static_cast<std::size_t>((x.size + kBlock - 1) / kBlock));
  const auto* const from = static_cast<const float*>(x.data);
  const auto kernel = HWY_DYNAMIC_DISPATCH(squares);
  pool.run_ranges(x.size, 8 * kBlock, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; block += kBlock) {
      partials[static_cast<std::size_t>(block / kBlock)] = kernel(std::min(kBlock, end - block), from + block);
    }
  });
  double total = 0.0;
  for (const double partial : partials) total += partial;
  return total;
}

}  // namespace ballast
#endif
