#include "runtime/group_layout.h"

#include "compute/error.h"

namespace ballast {

GroupLayout lay_out_groups(int rank, int workers, int groups, int shards) {
  require(groups > 0 && shards % groups == 0, "lay_out_groups: the groups are not equal");
  require_shards_for(workers, shards);
  GroupLayout layout{.groups = groups, .shards = shards, .mine = {}, .led = {}, .team = rank};
  if (workers <= groups) {
    for (int r = 0; r < workers; ++r) layout.led.push_back(shards_of(r, workers, groups));
    layout.mine = layout.led[static_cast<std::size_t>(rank)];
    return layout;
  }
  for (int group = 0; group < groups; ++group) {
    const ShardRange team = shards_of(group, groups, workers);
    for (int r = team.begin; r < team.end; ++r) {
      layout.led.push_back({r == team.begin ? group : group + 1, group + 1});
      if (r != rank) continue;
      layout.mine = {group, group + 1};
      layout.team = team.begin;
    }
  }
  return layout;
}

}  // namespace ballast
