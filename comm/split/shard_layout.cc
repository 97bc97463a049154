#include "comm/split/shard_layout.h"

#include <algorithm>
#include <bit>
#include <string>

#include "compute/error.h"

namespace ballast {

ShardLayout ShardLayout::even(int workers, int shards, int group) {
  ShardLayout layout{.shards = shards, .group = group, .of_worker = {}};
  for (int rank = 0; rank < workers; ++rank) layout.of_worker.push_back(shards_of(rank, workers, shards));
  return layout;
}

std::vector<ShardRange> ShardLayout::held(ShardRange range) const {
  std::vector<ShardRange> all;
  while (range.begin < range.end) {
    const ShardRange part{range.begin, std::min(range.end, (range.begin / group + 1) * group)};
    const std::vector<ShardRange> subtrees = held_subtrees(part, shards);
    all.insert(all.end(), subtrees.begin(), subtrees.end());
    range.begin = part.end;
  }
  return all;
}

ShardLayout layout_of(int workers, const SplitAllReduceOptions& options) {
  const int shards = options.shards;
  const auto layout = [&](int group) {
    if (options.held.empty()) return ShardLayout::even(workers, shards, group);
    return ShardLayout{.shards = shards, .group = group, .of_worker = options.held};
  };
  if (!options.coding.active()) return layout(shards);
  const int groups = options.groups == 0 ? shards : options.groups;
  const int group = shards / groups;
  if (group * groups != shards || !std::has_single_bit(static_cast<unsigned>(group))) {
    throw ConfigError("comm.groups = " + std::to_string(groups) + ": batch.shards = " + std::to_string(shards) +
                      " must be that many times a power of two; use " + std::to_string(shards) + " groups, or 0");
  }
  return layout(group);
}

}  // namespace ballast
