#include "launcher/plan/job_cut.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "comm/split/shard_stack.h"
#include "compute/error.h"
#include "runtime/group_layout.h"

namespace ballast {
namespace {

using testing::HasSubstr;

std::vector<ShardRange> even(int workers, int shards) { return ShardLayout::even(workers, shards, shards).of_worker; }

/// Largest whole subtrees of what each node's workers hold together.
std::vector<std::int64_t> subtrees_by_node(const ShardLayout& layout, int per_node) {
  std::vector<std::int64_t> subtrees;
  for (int first = 0; first < layout.workers(); first += per_node) {
    ShardRange all;
    for (int rank = first; rank < std::min(first + per_node, layout.workers()); ++rank) {
      const ShardRange& range = layout.of(rank);
      if (range.begin == range.end) continue;
      if (all.begin == all.end) all = range;
      all.end = range.end;
    }
    subtrees.push_back(std::ssize(layout.held(all)));
  }
  return subtrees;
}

void expect_parts_as_training_has_them(const ShardLayout& layout, int per_node) {
  std::int64_t buffers = 1, parts = 1, total = 0, most = 0, least = layout.shards;
  for (const Fragments& fragments : all_fragments(layout)) {
    buffers = std::max<std::int64_t>(buffers, fragments.buffers);
    parts = std::max<std::int64_t>(parts, std::ssize(fragments.sums));
  }
  for (const std::int64_t subtrees : subtrees_by_node(layout, per_node)) {
    total += subtrees;
    most = std::max(most, subtrees);
    least = std::min(least, subtrees);
  }
  const GradientParts found = gradient_parts(layout.of_worker, per_node, layout.shards, layout.group);
  const testing::ScopedTrace trace(__FILE__, __LINE__,
                                   std::to_string(layout.workers()) + " workers, " + std::to_string(per_node) +
                                       " on a node, " + std::to_string(layout.shards) + " shards, groups of " +
                                       std::to_string(layout.group));
  EXPECT_EQ(found.buffers, buffers);
  EXPECT_EQ(found.parts, parts);
  EXPECT_EQ(found.subtrees, most);
  EXPECT_EQ(found.others, total - least);
}

TEST(JobCut, CountsPartialSumsAsTrainingDoes) {
  for (int shards = 1; shards <= 17; ++shards) {
    for (int workers = 1; workers <= shards; ++workers) {
      for (int group = 1; group <= shards; group *= 2) {
        if (shards % group != 0) continue;
        for (const int per_node : {1, 2, 4}) {
          expect_parts_as_training_has_them(ShardLayout::even(workers, shards, group), per_node);
        }
      }
      expect_parts_as_training_has_them(ShardLayout::even(workers, shards, shards), 1);
    }
  }
}

TEST(JobCut, KeepsABufferForEachGroupThatAWorkerHasBegun) {
  EXPECT_EQ(gradient_parts(even(1, 8), 1, 8, 1).buffers, 8);
  EXPECT_EQ(gradient_parts(even(1, 8), 1, 8, 4).buffers, 1 + 3) << "one group's sum, and the stack of the other";
  EXPECT_EQ(gradient_parts(even(1, 8), 1, 8, 8).buffers, 4);
}

TEST(JobCut, AddsUpWhatAWorkerWithThousandsOfShardsHolds) {
  EXPECT_EQ(gradient_parts(even(1, 65536), 1, 65536, 1).buffers, 65536) << "and answers in no time";
}

TEST(JobCut, KnowsWhetherAGroupLiesOnSeveralNodes) {
  EXPECT_TRUE(gradient_parts(even(4, 8), 2, 8, 4).whole_groups);
  EXPECT_FALSE(gradient_parts(even(4, 8), 1, 8, 4).whole_groups);
  EXPECT_FALSE(gradient_parts(even(3, 8), 1, 8, 2).whole_groups);
}

JobConfig outer_job(std::int64_t shards, std::int64_t groups) {
  JobConfig config;
  config.batch.size = 2 * shards;
  config.batch.shards = shards;
  config.comm.groups = groups;
  config.outer.every = 10;
  return config;
}

/// Of runtime/group_layout.h, on nodes of so many workers.
void expect_groups_as_training_lays_them_out(int groups, int workers, int per_node) {
  const testing::ScopedTrace trace(__FILE__, __LINE__,
                                   std::to_string(groups) + " groups, " + std::to_string(workers) + " workers, " +
                                       std::to_string(per_node) + " on a node");
  const Copies copies = lay_out_copies(outer_job(24, groups), 24, {workers / per_node, per_node});
  std::int64_t of_worker = 0, of_node = 0, led = 0, leaders = 0;
  std::vector<int> team_sizes(static_cast<std::size_t>(workers));
  for (int first = 0; first < workers; first += per_node) {
    std::vector<int> on_node;
    std::int64_t led_here = 0, leaders_here = 0;
    for (int rank = first; rank < first + per_node; ++rank) {
      const GroupLayout layout = lay_out_groups(rank, workers, groups, 24);
      of_worker = std::max<std::int64_t>(of_worker, layout.mine.end - layout.mine.begin);
      for (int group = layout.mine.begin; group < layout.mine.end; ++group) on_node.push_back(group);
      const ShardRange mine = layout.led[static_cast<std::size_t>(rank)];
      led_here += mine.end - mine.begin;
      leaders_here += mine.end > mine.begin ? 1 : 0;
      ++team_sizes[static_cast<std::size_t>(layout.team)];
    }
    std::ranges::sort(on_node);
    const auto repeated = std::ranges::unique(on_node);
    of_node = std::max<std::int64_t>(of_node, std::ssize(on_node) - std::ssize(repeated));
    led = std::max(led, led_here);
    leaders = std::max(leaders, leaders_here);
  }
  std::erase(team_sizes, 0);
  EXPECT_EQ(copies.of_worker, of_worker);
  EXPECT_EQ(copies.of_node, of_node);
  EXPECT_EQ(copies.led_on_node, led);
  EXPECT_EQ(copies.leaders_on_node, leaders);
  EXPECT_EQ(copies.smallest_team, std::ranges::min(team_sizes));
}

TEST(JobCut, LaysOutGroupsAsTrainingDoes) {
  for (const int groups : {1, 2, 3, 4, 6, 8, 12, 24}) {
    for (int workers = 1; workers <= 24; ++workers) {
      for (const int per_node : {1, 2, 3, 4}) {
        if (workers % per_node == 0) expect_groups_as_training_lays_them_out(groups, workers, per_node);
      }
    }
  }
}

TEST(JobCut, ATeamLiesOnAsFewNodesAsItsWorkersFill) {
  const auto team = [](int groups, const Ownership& who) {
    return lay_out_copies(outer_job(24, groups), 24, who).team;
  };
  EXPECT_EQ(team(24, {4, 2}).workers(), 1);
  EXPECT_EQ(team(4, {4, 2}).nodes, 1);
  EXPECT_EQ(team(4, {4, 2}).workers_per_node, 2);
  EXPECT_EQ(team(2, {4, 2}).nodes, 2);
  EXPECT_EQ(team(8, {4, 4}).nodes, 1);
  EXPECT_EQ(team(8, {4, 4}).workers_per_node, 2);
  EXPECT_EQ(team(4, {3, 4}).nodes, 2) << "teams of three across nodes of four";
}

std::string refusal(const JobConfig& config, const Ownership& who) {
  try {
    require_possible(config, who);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(JobCut, RefusesGroupsThatTrainingWouldRefuse) {
  JobConfig config = outer_job(12, 5);
  EXPECT_THAT(refusal(config, {2, 1}), HasSubstr("comm.groups = 5: batch.shards = 12 must be a multiple"));
  config = outer_job(8, 2);
  EXPECT_EQ(refusal(config, {4, 1}), "");
  config.comm.sharding = "values";
  EXPECT_THAT(refusal(config, {4, 1}), HasSubstr("a group that lies on several nodes"));
  EXPECT_EQ(refusal(config, {2, 2}), "");
  config.compute.backend = "cuda";
  EXPECT_THAT(refusal(config, {2, 2}), HasSubstr("compute.backend"));

  config = outer_job(8, 2);
  config.outer.every = 0;
  config.comm.compression = "int8";
  EXPECT_EQ(refusal(config, {2, 2}), "");
  EXPECT_THAT(refusal(config, {4, 1}), HasSubstr("the shards of a group would lie on several nodes"));
  config.batch.shards = 12;
  EXPECT_THAT(refusal(config, {2, 2}), HasSubstr("a power of two"));
  config.comm.compression = "none";
  EXPECT_EQ(refusal(config, {4, 1}), "");
}

}  // namespace
}  // namespace ballast
