// Defines: RowBlocks: how R rows of C columns are cut for sums over the rows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "compute/cpu/thread_pool.h"

namespace ballast {

/// Blocks of rows, by shape alone: about 32768 elements, which stay in the cache between two passes, and at most 512
/// rows for each of a column's sums, so that an f32 sum within a block stays exact to about 1e-5. Sums of blocks are
/// added in f64, in index order.
class RowBlocks {
 public:
  /// `sums`: how many sums a column has within a block (see RowPattern).
  RowBlocks(std::int64_t rows, std::int64_t columns, std::int64_t sums = 1)
      : rows_(rows),
        columns_(columns),
        height_(std::clamp<std::int64_t>(kElements / std::max<std::int64_t>(1, columns), 32, 512 * sums)) {}

  [[nodiscard]] std::int64_t count() const { return (rows_ + height_ - 1) / height_; }
  [[nodiscard]] std::int64_t rows_of(std::int64_t block) const { return std::min(height_, rows_ - block * height_); }

  /// body(block, first row, number of rows), on all threads.
  template <class Body>
  void run(ThreadPool& pool, const Body& body) const {
    const std::int64_t grain = std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, height_ * columns_));
    pool.run_ranges(count(), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = begin; block < end; ++block) body(block, block * height_, rows_of(block));
    });
  }

  /// Sums over the blocks of partials_(block)(width), in index order. `width` is a small multiple of the columns.
  [[nodiscard]] ScratchArray<double> add_up(ThreadPool& pool, const ScratchArray<float>& partials,
                                            std::int64_t width) const {
    return add_up(pool, partials.data(), width, width);
  }

  /// The same where the sums of one block begin `stride` after those of the one before.
  [[nodiscard]] ScratchArray<double> add_up(ThreadPool& pool, const float* partials, std::int64_t width,
                                            std::int64_t stride) const {
    ScratchArray<double> totals(pool.scratch(), width);
    pool.run_ranges(width, 512, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t block = 0; block < count(); ++block) {
        const float* partial = partials + block * stride;
        for (std::int64_t i = begin; i < end; ++i)
          totals[static_cast<std::size_t>(i)] += static_cast<double>(partial[i]);
      }
    });
    return totals;
  }

 private:
  static constexpr std::int64_t kElements = 32768;

  std::int64_t rows_, columns_, height_;
};

}  // namespace ballast
