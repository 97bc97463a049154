// Defines: ordered_sum, sum_of_squares, ordered_sum_and_squares.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/reduction.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <cstring>
#include <vector>

#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"
#include "compute/sum_tree.h"

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

/// sum = total(i) for i in [0, n), and its squares. `total` adds elements of arrays that `sum` may be one of.
template <class Total>
HWY_INLINE double add_and_square(std::int64_t n, float* sum, const Total& total) {
  constexpr std::int64_t kStep = Squares::kChains;
  Squares squares;
  float piece[kStep];
  std::int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    for (std::int64_t c = 0; c < kStep; ++c) piece[c] = total(i + c);
    for (std::int64_t c = 0; c < kStep; ++c) sum[i + c] = piece[c];
    squares.add(piece);
  }
  for (std::int64_t c = 0; i + c < n; ++c) piece[c] = total(i + c);
  for (std::int64_t c = 0; i + c < n; ++c) sum[i + c] = piece[c];
  squares.add_rest(n - i, piece);
  return squares.sum();
}

double add_two_and_square(std::int64_t n, const float* a, const float* b, float* sum) {
  return add_and_square(n, sum, [=](std::int64_t i) { return a[i] + b[i]; });
}

double add_pairs_and_square(std::int64_t n, const float* const* addends, float* sum) {
  const float* const a = addends[0];
  const float* const b = addends[1];
  const float* const c = addends[2];
  const float* const d = addends[3];
  return add_and_square(n, sum, [=](std::int64_t i) { return (a[i] + b[i]) + (c[i] + d[i]); });
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
HWY_EXPORT(add_two_and_square);
HWY_EXPORT(add_pairs_and_square);
HWY_EXPORT(squares);

namespace {

constexpr std::int64_t kChunk = 4096;  // floats, so that the partial sums of a tree stay in the first cache
constexpr std::int64_t kBlock = 8192;  // floats of one f64 partial sum

bool is_pair_of_pairs(std::span<const int> tree) {
  return tree.size() == 7 && tree[0] >= 0 && tree[1] >= 0 && tree[2] < 0 && tree[3] >= 0 && tree[4] >= 0;
}

/// One ordered sum, checked. Tasks share it and call run() for ranges of their own.
class Addition {
 public:
  Addition(ScratchPool& pool, std::span<const ConstDeviceSpan> addends, std::span<const int> tree, DeviceSpan sum)
      : pool_(pool),
        addends_(addends),
        tree_(tree),
        sum_(static_cast<float*>(sum.data)),
        levels_(levels_of_sum_tree(addends.size(), tree)),
        pairs_(is_pair_of_pairs(tree)) {
    require(sum.dtype == DType::kF32, "ordered_sum: the sum is not f32");
    for (const ConstDeviceSpan& addend : addends) {
      require(addend.size == sum.size && addend.dtype == DType::kF32,
              "ordered_sum: an addend differs from the sum in size or type");
    }
  }

  void run(std::int64_t begin, std::int64_t end) const {
    if (pairs_) {
      const float* const four[] = {from(0, begin), from(1, begin), from(3, begin), from(4, begin)};
      return HWY_DYNAMIC_DISPATCH(add_pairs)(end - begin, four, sum_ + begin);
    }
    std::vector<const float*> stack;
    ScratchArray<float> scratch(pool_,
                                levels_ > 2 || tree_.size() > 3 ? static_cast<std::int64_t>(levels_) * kChunk : 0);
    for (std::int64_t chunk = begin; chunk < end; chunk += kChunk) {
      add_chunk(chunk, std::min(chunk + kChunk, end), stack, scratch);
    }
  }

  /// The same, and the sum of squares of the sums. Two or two pairs of addends are added and squared in one loop.
  [[nodiscard]] double run_and_square(std::int64_t begin, std::int64_t end) const {
    if (end - begin <= kBlock && tree_.size() == 3) {
      return HWY_DYNAMIC_DISPATCH(add_two_and_square)(end - begin, from(0, begin), from(1, begin), sum_ + begin);
    }
    if (end - begin <= kBlock && pairs_) {
      const float* const four[] = {from(0, begin), from(1, begin), from(3, begin), from(4, begin)};
      return HWY_DYNAMIC_DISPATCH(add_pairs_and_square)(end - begin, four, sum_ + begin);
    }
    run(begin, end);
    const auto kernel = HWY_DYNAMIC_DISPATCH(squares);
    double total = 0.0;
    for (std::int64_t at = begin; at < end; at += kBlock) total += kernel(std::min(kBlock, end - at), sum_ + at);
    return total;
  }

 private:
  /// The addend that step `i` of the program pushes.
  [[nodiscard]] const float* from(std::size_t i, std::int64_t begin) const {
    return static_cast<const float*>(addends_[static_cast<std::size_t>(tree_[i])].data) + begin;
  }

  /// Runs the program on elements [begin, end). `scratch` holds kChunk floats per level.
  void add_chunk(std::int64_t begin, std::int64_t end, std::vector<const float*>& stack,
                 ScratchArray<float>& scratch) const {
    const auto add = HWY_DYNAMIC_DISPATCH(add_two);
    stack.clear();
    for (std::size_t i = 0; i < tree_.size(); ++i) {
      if (tree_[i] >= 0) {
        stack.push_back(from(i, begin));
        continue;
      }
      const float* const b = stack.back();
      stack.pop_back();
      // Only the last addition may write to the sum: until then it can be an addend that is still to be read.
      float* const to = i + 1 == tree_.size() ? sum_ + begin : scratch.data() + (stack.size() - 1) * kChunk;
      add(end - begin, stack.back(), b, to);
      stack.back() = to;
    }
    if (tree_.size() == 1 && stack.back() != sum_ + begin) {
      std::memmove(sum_ + begin, stack.back(), static_cast<std::size_t>(end - begin) * sizeof(float));
    }
  }

  ScratchPool& pool_;
  std::span<const ConstDeviceSpan> addends_;
  std::span<const int> tree_;
  float* sum_;
  std::size_t levels_;
  bool pairs_;
};

}  // namespace

void ordered_sum(ThreadPool& pool, std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                 DeviceSpan sum) {
  const Addition addition(pool.scratch(), addends, tree, sum);
  pool.run_ranges(sum.size, 8 * kChunk, [&](std::int64_t begin, std::int64_t end) { addition.run(begin, end); });
}

void ordered_sum_and_squares(ThreadPool& pool, std::span<const ConstDeviceSpan> addends, std::span<const int> tree,
                             DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares) {
  require(parts.size() == squares.size(), "ordered_sum_and_squares: parts and squares differ in number");
  std::int64_t before = 0;
  for (const auto& [begin, end] : parts) {
    require(before <= begin && begin <= end && end <= sum.size,
            "ordered_sum_and_squares: parts must be in rising order, apart and inside the sum");
    before = end;
  }
  if (parts.empty()) return ordered_sum(pool, addends, tree, sum);
  const Addition addition(pool.scratch(), addends, tree, sum);
  constexpr std::int64_t kPartsOfTask = 4;
  pool.run_ranges(static_cast<std::int64_t>(parts.size()), kPartsOfTask, [&](std::int64_t first, std::int64_t last) {
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
      if (i == 0) addition.run(0, parts[i].begin);
      squares[i] = addition.run_and_square(parts[i].begin, parts[i].end);
      addition.run(parts[i].end, i + 1 == parts.size() ? sum.size : parts[i + 1].begin);
    }
  });
}

double sum_of_squares(ThreadPool& pool, ConstDeviceSpan x) {
  require(x.dtype == DType::kF32, "sum_of_squares: x is not f32");
  ScratchArray<double> partials(pool.scratch(), (x.size + kBlock - 1) / kBlock);
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
