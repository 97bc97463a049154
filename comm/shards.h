// Defines: ShardRange, require_shards_for, shards_of, Subtree, held_subtrees, sum_program: who computes which shard,
// and in which order shards are added.
//
// The sum over shards 0..S-1 follows one binary tree that depends on S alone: node [lo, hi) is the sum of [lo, mid) and
// [mid, hi), where mid - lo is the largest power of two below hi - lo. A worker computes neighbouring shards and adds
// up the largest whole subtrees it holds; the owner of a slice adds these in the tree's shape. So the bits of the sum
// do not depend on how many workers share the work. Bytes on the wire for the reduce half: one gradient per worker
// where the number of workers divides S into equal powers of two, else one per held subtree.
#pragma once

#include <vector>

namespace ballast {

struct ShardRange {
  int begin = 0, end = 0;
  bool operator==(const ShardRange&) const = default;
};

/// Throws ConfigError, with both remedies, for more workers than shards.
void require_shards_for(int workers, int shards);

/// Shards of worker `rank` of `workers`: neighbouring, sizes differing by at most one, larger ones first. Needs workers
/// <= shards.
[[nodiscard]] ShardRange shards_of(int rank, int workers, int shards);

/// The largest whole subtrees of the tree over `shards` that lie inside `range`, in order.
[[nodiscard]] std::vector<ShardRange> held_subtrees(ShardRange range, int shards);

/// Postfix program (see Backend::ordered_sum) that adds subtrees `cover`, which together are 0..shards-1 in order, in
/// the tree's shape.
[[nodiscard]] std::vector<int> sum_program(const std::vector<ShardRange>& cover, int shards);

}  // namespace ballast
