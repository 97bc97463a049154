#include "comm/split/shard_stack.h"

#include <algorithm>

#include "compute/error.h"

namespace ballast {

int ShardStack::mergeable() const {
  for (auto bottom = sums_.begin(); bottom != sums_.end(); ++bottom) {
    const ShardRange all{bottom->begin, sums_.back().end};
    if (layout_.held(all).size() == 1) return static_cast<int>(sums_.end() - bottom);
  }
  return 0;
}

void ShardStack::merge(int count) {
  const int end = sums_.back().end;
  sums_.resize(sums_.size() - static_cast<std::size_t>(count - 1));
  sums_.back().end = end;
}

Fragments fragments_of(ShardRange range, const ShardLayout& layout) {
  ShardStack stack(layout);
  int deepest = 0;
  for (int shard = range.begin; shard < range.end; ++shard) {
    stack.push(shard);
    deepest = std::max(deepest, static_cast<int>(stack.sums().size()));
    if (shard + 1 < range.end) stack.merge(stack.mergeable());
  }
  return {stack.sums(), deepest};
}

std::vector<Fragments> all_fragments(const ShardLayout& layout) {
  std::vector<Fragments> fragments;
  fragments.reserve(layout.of_worker.size());
  for (const ShardRange& range : layout.of_worker) fragments.push_back(fragments_of(range, layout));
  return fragments;
}

std::vector<int> subtree_program(std::vector<ShardRange> parts) {
  require(!parts.empty(), "subtree_program: nothing to add");
  const int first = parts.front().begin;
  for (ShardRange& part : parts) part = {part.begin - first, part.end - first};
  return sum_program(parts, parts.back().end);
}

}  // namespace ballast
