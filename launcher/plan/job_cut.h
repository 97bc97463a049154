// Defines: BatchCut, cut_batch, GradientParts, gradient_parts, Copies, lay_out_copies, parts_of_copy,
// parts_of_exchange, require_possible: how a job's step is shared out among its workers.
//
// Follows comm/split/shard_layout.h and comm/split/sum_plan.h for sums, and runtime/group_layout.h for copies.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/shards.h"
#include "launcher/plan/exchange.h"
#include "runtime/job.h"

namespace ballast {

/// How a step's batch is cut.
struct BatchCut {
  int shards = 1;
  std::int64_t shard = 1;  ///< samples of the largest shard
  std::int64_t micro = 1;  ///< samples that go through the model at once
};
/// ConfigError when there are more workers than shards.
[[nodiscard]] BatchCut cut_batch(const JobConfig& config, int workers);

/// Partial sums of what `workers` have of a gradient.
struct GradientParts {
  std::int64_t buffers = 1;   ///< most buffers at a time, of any worker: the stack that its shards are added up on
  std::int64_t parts = 1;     ///< most partial sums that a worker ends up with
  std::int64_t on_node = 1;   ///< most that the workers of a node end up with
  std::int64_t subtrees = 1;  ///< most of a node when it has added what it can
  std::int64_t others = 0;    ///< most that a node gets from all others
  bool whole_groups = true;   ///< no group's shards lie on several nodes
};
/// `held`: shards by worker, in rising order; some may have none. Nothing is added up beyond a group of `group`
/// neighbouring shards, which is a subtree of the sum over all.
[[nodiscard]] GradientParts gradient_parts(const std::vector<ShardRange>& held, std::int64_t workers_per_node,
                                           int shards, int group);

/// Who trains which copy of the weights. Without [outer] there is one, and all workers train it.
struct Copies {
  int groups = 1;                    ///< of shards; with [outer] each has a copy
  int shards = 1;                    ///< of a copy's step
  Ownership team;                    ///< the workers that train a copy together, taken to lie evenly on their nodes
  std::int64_t smallest_team = 1;    ///< workers
  std::int64_t of_worker = 1;        ///< most copies that a worker trains, one after the other
  std::int64_t of_node = 1;          ///< most copies that the workers of a node train
  std::int64_t led_on_node = 0;      ///< most groups that the workers of a node lead
  std::int64_t leaders_on_node = 0;  ///< most workers of a node that lead a group
  std::vector<ShardRange> led;       ///< groups by the worker that leads them; empty without [outer]
};
/// ConfigError where `shards` cannot be cut into the job's groups.
[[nodiscard]] Copies lay_out_copies(const JobConfig& config, int shards, const Ownership& who);

/// Of one copy's gradient.
[[nodiscard]] GradientParts parts_of_copy(const JobConfig& config, const Copies& copies, const Ownership& who);
/// Of the groups' differences in an exchange of [outer].
[[nodiscard]] GradientParts parts_of_exchange(const JobConfig& config, const Copies& copies, const Ownership& who);

/// ConfigError where training would refuse these workers because of its groups.
void require_possible(const JobConfig& config, const Ownership& who);

}  // namespace ballast
