// Defines: GroupLayout: who trains which group of shards.
#pragma once

#include <vector>

#include "comm/shards.h"

namespace ballast {

/// A group is neighbouring shards that train one copy of the weights. With fewer workers than groups a worker trains
/// several, one after the other; with more, neighbouring workers train one together: its team, whose first is the
/// leader.
struct GroupLayout {
  int groups = 1, shards = 1;
  ShardRange mine;              ///< groups that I train
  std::vector<ShardRange> led;  ///< by rank: groups that each worker leads, in rising order; empty for the others
  int team = 0;                 ///< equal for the workers of a team

  [[nodiscard]] int shards_of_group() const { return shards / groups; }
  [[nodiscard]] int first_shard(int group) const { return group * shards_of_group(); }
};

/// `groups` divides `shards`. Throws ConfigError for more workers than shards.
[[nodiscard]] GroupLayout lay_out_groups(int rank, int workers, int groups, int shards);

}  // namespace ballast
