#include "comm/split/shard_stack.h"

#include <algorithm>

#include "compute/error.h"

namespace ballast {

int ShardStack::mergeable() const {
  for (auto bottom = sums_.begin(); bottom != sums_.end(); ++bottom) {
    const ShardRange all{bottom->begin, sums_.back().end};
    if (held_subtrees(all, shards_).size() == 1) return static_cast<int>(sums_.end() - bottom);
  }
  return 0;
}

void ShardStack::merge(int count) {
  const int end = sums_.back().end;
  sums_.resize(sums_.size() - static_cast<std::size_t>(count - 1));
  sums_.back().end = end;
}

Fragments fragments_of(ShardRange range, int shards) {
  ShardStack stack(shards);
  int deepest = 0;
  for (int shard = range.begin; shard < range.end; ++shard) {
    stack.push(shard);
    deepest = std::max(deepest, static_cast<int>(stack.sums().size()));
    if (shard + 1 < range.end) stack.merge(stack.mergeable());
  }
  return {stack.sums(), deepest};
}

std::vector<Fragments> all_fragments(int workers, int shards) {
  std::vector<Fragments> fragments;
  fragments.reserve(static_cast<std::size_t>(workers));
  for (int rank = 0; rank < workers; ++rank)
    fragments.push_back(fragments_of(shards_of(rank, workers, shards), shards));
  return fragments;
}

std::vector<int> subtree_program(std::vector<ShardRange> parts) {
  require(!parts.empty(), "subtree_program: nothing to add");
  const int first = parts.front().begin;
  for (ShardRange& part : parts) part = {part.begin - first, part.end - first};
  return sum_program(parts, parts.back().end);
}

}  // namespace ballast
