#include "comm/split/sum_plan.h"

#include <gtest/gtest.h>

#include <mutex>

#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

constexpr std::int64_t kElements = 1200;

/// Elements that leave each node in the reduce half of a step. `group`: shards of a group whose sums are coded; 0: none
/// are.
std::vector<std::int64_t> elements_sent(int workers, int per_node, int shards, int group = 0) {
  std::vector<Block> blocks;
  for (std::int64_t e = 0; e < kElements; e += 5) blocks.push_back({e, e + 5, DType::kF32});
  std::vector<std::int64_t> sent(static_cast<std::size_t>((workers + per_node - 1) / per_node));
  std::mutex mutex;
  run_workers(workers, per_node, [&](Communicator& world) {
    const auto node = world.split_by_node();
    const Topology topology(world, *node);
    const Partition partition = cut_buckets(blocks, 480, coordinator_ranks(0, workers));
    const bool coded = group > 0;
    const SumPlan plan =
        plan_sums(topology, partition, ShardLayout::even(workers, shards, coded ? group : shards), coded);
    const std::lock_guard lock(mutex);
    for (const auto& messages : plan.outgoing) {
      for (const OutgoingSum& message : messages) {
        sent[static_cast<std::size_t>(topology.my_node())] += message.slice.end - message.slice.begin;
        EXPECT_NE(topology.node_of(message.slice.owner), topology.my_node());
      }
    }
  });
  return sent;
}

TEST(SumPlan, SendsNothingWithinANode) { EXPECT_EQ(elements_sent(4, 4, 4), std::vector<std::int64_t>{0}); }

TEST(SumPlan, SendsEachSliceOncePerNodeHoweverManyWorkersAndShardsTheNodeHas) {
  for (const int per_node : {1, 2, 4}) {
    for (const int shards : {4, 8}) {
      if (2 * per_node > shards) continue;
      EXPECT_EQ(elements_sent(2 * per_node, per_node, shards), (std::vector<std::int64_t>(2, kElements / 2)))
          << per_node << " workers a node, " << shards << " shards";
    }
  }
  EXPECT_EQ(elements_sent(4, 1, 4), std::vector<std::int64_t>(4, kElements * 3 / 4));
}

TEST(SumPlan, SendsOneSumPerSubtreeWhereANodeHoldsNoWholeOne) {
  EXPECT_EQ(elements_sent(3, 1, 4), std::vector<std::int64_t>(3, kElements * 2 / 3));  // shards 0-1 | 2 | 3
  // Shards 0-2 | 3: [0, 2) and [2, 3) go to the one owner on the second node, [3, 4) to the two owners on the first.
  EXPECT_EQ(elements_sent(3, 2, 4), (std::vector<std::int64_t>{2 * kElements / 3, 2 * kElements / 3}));
}

TEST(SumPlan, SendsOneSumPerGroupWhereTheyAreCoded) {
  EXPECT_EQ(elements_sent(4, 2, 4, 2), (std::vector<std::int64_t>(2, kElements / 2)));
  EXPECT_EQ(elements_sent(4, 2, 4, 1), (std::vector<std::int64_t>(2, 2 * kElements / 2)));
  EXPECT_EQ(elements_sent(2, 1, 8, 2), (std::vector<std::int64_t>(2, 2 * kElements / 2)));
}

TEST(SumPlan, RefusesToCodeAGroupThatLiesOnTwoNodes) {
  try {
    elements_sent(4, 1, 8, 4);
    ADD_FAILURE() << "was accepted";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("comm.groups = 2: the shards of group 0 lie on several nodes"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace ballast
