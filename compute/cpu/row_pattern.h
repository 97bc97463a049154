// Defines: RowPattern: rows of few columns, laid end to end.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <numeric>

#include "compute/cpu/scratch.h"

namespace ballast {

/// R rows of C columns seen as R / N long rows of N C columns. Whatever belongs to a column is repeated N times, so
/// that a kernel's vectors are full and its sums have many independent chains even for C = 3 or 16. N depends on C
/// alone; an incomplete long row at the end holds the first columns of the pattern.
class RowPattern {
 public:
  explicit RowPattern(std::int64_t columns) : columns_(columns) {
    if (columns < 1) return;
    const std::int64_t even = kAlignment / std::gcd(columns, kAlignment);
    const std::int64_t once = columns * even;
    if (once <= kMost) copies_ = even * (once < kLeast ? kLeast / once : 1);
  }

  [[nodiscard]] std::int64_t copies() const { return copies_; }
  [[nodiscard]] std::int64_t width() const { return columns_ * copies_; }

  /// Elements of some long rows: a task of an elementwise kernel.
  [[nodiscard]] std::int64_t grain() const { return std::max<std::int64_t>(1, kGrain / width()) * width(); }

  /// Each x_C over the whole pattern, one after the other.
  [[nodiscard]] ScratchArray<float> repeated(ScratchPool& scratch,
                                             std::initializer_list<const float*> per_column) const {
    ScratchArray<float> all(scratch, static_cast<std::int64_t>(per_column.size()) * width());
    float* to = all.data();
    for (const float* x : per_column) {
      std::copy_n(x, columns_, to);
      repeat(to);
      to += width();
    }
    return all;
  }

  /// x[0, C) over the whole pattern.
  void repeat(float* x) const {
    for (std::int64_t i = columns_; i < width(); ++i) x[i] = x[i - columns_];
  }

  /// x[0, C) = the sum over the copies, in index order.
  void fold(float* x) const {
    for (std::int64_t copy = 1; copy < copies_; ++copy) {
      for (std::int64_t c = 0; c < columns_; ++c) x[c] += x[copy * columns_ + c];
    }
  }

 private:
  static constexpr std::int64_t kAlignment = 64;  ///< lanes of the widest vector there is
  static constexpr std::int64_t kLeast = 256;     ///< long enough to hide the latency of a sum
  static constexpr std::int64_t kMost = 8192;     ///< short enough to stay in the nearest cache
  static constexpr std::int64_t kGrain = 16384;

  std::int64_t columns_;
  std::int64_t copies_ = 1;
};

}  // namespace ballast
