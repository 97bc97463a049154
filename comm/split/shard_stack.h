// Defines: ShardStack, Fragments, fragments_of, all_fragments, subtree_program: how one worker adds up its shards.
#pragma once

#include <vector>

#include "comm/split/shard_layout.h"

namespace ballast {

/// Partial sums of one worker. Shards are pushed in order; neighbours that make up a whole subtree of one group are
/// added at once, so the depth is logarithmic in a group. The partial sum at height i lives in gradient buffer i.
class ShardStack {
 public:
  explicit ShardStack(const ShardLayout& layout) : layout_(layout) {}
  void push(int shard) { sums_.push_back({shard, shard + 1}); }
  /// How many sums on top make up one subtree: 1 when there is nothing to add.
  [[nodiscard]] int mergeable() const;
  void merge(int count);
  void clear() { sums_.clear(); }
  [[nodiscard]] const std::vector<ShardRange>& sums() const { return sums_; }  ///< from the bottom

 private:
  const ShardLayout& layout_;
  std::vector<ShardRange> sums_;
};

/// What a worker of `range` ends up with. The last addition is left to whoever reads the sums: one pass less over
/// memory.
struct Fragments {
  std::vector<ShardRange> sums;  ///< sums[i] lies in gradient buffer i
  int buffers = 0;               ///< the stack's greatest depth on the way, at least sums.size()
};
[[nodiscard]] Fragments fragments_of(ShardRange range, const ShardLayout& layout);
[[nodiscard]] std::vector<Fragments> all_fragments(const ShardLayout& layout);  ///< by rank

/// Postfix program that adds neighbouring `parts`, which make up one subtree, in the tree's shape.
[[nodiscard]] std::vector<int> subtree_program(std::vector<ShardRange> parts);

}  // namespace ballast
