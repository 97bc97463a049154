// Defines: ValueRanges, BucketWindow: which buckets of other nodes' values a node has while it reads its way through a
// model, with comm.sharding = "values".
//
// Follows comm/split/value_gathering.h: buckets that an operation and its successor read are here, and a few that
// nobody reads any more.
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "compute/backend.h"
#include "launcher/plan/exchange.h"

namespace ballast {

using ValueRanges = std::vector<ElementRange>;

class BucketWindow {
 public:
  /// `reads`: what the operations of a pass read, one after the other. `buckets` must outlive it.
  BucketWindow(const std::vector<BucketLoad>& buckets, std::vector<ValueRanges> reads)
      : buckets_(buckets), reads_(std::move(reads)) {}

  [[nodiscard]] std::size_t reads() const { return reads_.size(); }
  /// The pass's next operation is about to read. Returns the buckets that are fetched: its own, then its successors'.
  /// Behind the last one the next pass begins.
  [[nodiscard]] std::vector<int> next();
  /// What is here is of no use any more.
  void new_values();
  /// Buckets that have elements of other nodes in `ranges`.
  [[nodiscard]] std::vector<int> buckets_of(const ValueRanges& ranges) const;
  /// The most that has been here at a time, in bytes.
  [[nodiscard]] double most_bytes() const { return most_bytes_; }

 private:
  [[nodiscard]] std::vector<int> read(const ValueRanges& now, std::span<const ValueRanges> next);
  [[nodiscard]] double foreign_bytes(const std::vector<int>& numbers) const;

  const std::vector<BucketLoad>& buckets_;
  std::vector<ValueRanges> reads_;
  std::size_t next_ = 0;   ///< in reads_
  std::vector<int> used_;  ///< rising
  std::vector<int> idle_;  ///< in the order in which they became so
  double most_bytes_ = 0.0;
};

}  // namespace ballast
