// Defines: ShardLayout: who computes which shards, and which of them are added up where they are computed.
#pragma once

#include <vector>

#include "comm/split_allreduce.h"

namespace ballast {

/// A group is `group` neighbouring shards that are one subtree. Workers and nodes add up nothing beyond a group: with
/// `group` = `shards` as much as they hold, with less so much that the groups' sums can be told apart.
struct ShardLayout {
  int shards = 1;
  int group = 1;
  std::vector<ShardRange> of_worker;  ///< by rank, in rising order; some may be empty

  /// All shards over all workers, as shards_of().
  static ShardLayout even(int workers, int shards, int group);
  [[nodiscard]] int workers() const { return static_cast<int>(of_worker.size()); }
  [[nodiscard]] const ShardRange& of(int rank) const { return of_worker[static_cast<std::size_t>(rank)]; }
  /// The largest whole subtrees inside `range` and inside one group each, in order.
  [[nodiscard]] std::vector<ShardRange> held(ShardRange range) const;
};

/// As the options say. Throws ConfigError where batch.shards cannot be cut into comm.groups subtrees.
[[nodiscard]] ShardLayout layout_of(int workers, const SplitAllReduceOptions& options);

}  // namespace ballast
