#include "comm/shards.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>

#include "comm/split/shard_stack.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr int kMostShards = 33;

/// Gradients whose sum depends on the order of additions.
float gradient_of(int shard) {
  return std::ldexp(1.0F + static_cast<float>(shard % 7) / 3.0F, (shard * 5) % 23) - 0.1F;
}

/// The tree's definition, written out once more: [lo, hi) splits after the largest power of two below hi - lo.
float tree_sum(int lo, int hi) {
  if (hi - lo == 1) return gradient_of(lo);
  int power = 1;
  while (power * 2 < hi - lo) power *= 2;
  return tree_sum(lo, lo + power) + tree_sum(lo + power, hi);
}

float run_program(const std::vector<int>& program, const std::vector<float>& addends) {
  std::vector<float> stack;
  for (const int entry : program) {
    if (entry >= 0) {
      stack.push_back(addends.at(static_cast<std::size_t>(entry)));
      continue;
    }
    const float right = stack.back();
    stack.pop_back();
    stack.back() += right;
  }
  EXPECT_EQ(stack.size(), 1U);
  return stack.back();
}

/// Sums of a worker's fragments, made the way SplitAllReduce makes them: pushed and merged shard by shard.
std::vector<float> fragment_sums(ShardRange range, const ShardLayout& layout) {
  ShardStack stack(layout);
  std::vector<float> sums;
  for (int shard = range.begin; shard < range.end; ++shard) {
    stack.push(shard);
    sums.push_back(gradient_of(shard));
    if (shard + 1 == range.end) break;
    const int count = stack.mergeable();
    const auto bottom = static_cast<std::ptrdiff_t>(sums.size()) - count;
    const std::vector<ShardRange> ranges(stack.sums().begin() + bottom, stack.sums().end());
    const float merged = run_program(subtree_program(ranges), {sums.begin() + bottom, sums.end()});
    sums.resize(static_cast<std::size_t>(bottom) + 1);
    sums.back() = merged;
    stack.merge(count);
  }
  return sums;
}

TEST(Shards, DividesShardsOverWorkersInNeighbouringRunsThatDifferByAtMostOne) {
  for (int shards = 1; shards <= kMostShards; ++shards) {
    for (int workers = 1; workers <= shards; ++workers) {
      int next = 0;
      for (int rank = 0; rank < workers; ++rank) {
        const ShardRange range = shards_of(rank, workers, shards);
        const int larger = rank < shards % workers ? 1 : 0;
        EXPECT_EQ(range.begin, next);
        EXPECT_EQ(range.end - range.begin, shards / workers + larger);
        next = range.end;
      }
      EXPECT_EQ(next, shards);
    }
  }
}

TEST(Shards, RefusesMoreWorkersThanShards) { EXPECT_THROW(static_cast<void>(shards_of(0, 3, 2)), Error); }

TEST(Shards, HeldSubtreesCoverTheRangeExactlyAndAreLargest) {
  for (int shards = 1; shards <= kMostShards; ++shards) {
    for (int begin = 0; begin < shards; ++begin) {
      for (int end = begin + 1; end <= shards; ++end) {
        const std::vector<ShardRange> held = held_subtrees({begin, end}, shards);
        int next = begin;
        for (std::size_t i = 0; i < held.size(); ++i) {
          EXPECT_EQ(held[i].begin, next);
          next = held[i].end;
          if (i > 0) {
            EXPECT_GT(held_subtrees({held[i - 1].begin, held[i].end}, shards).size(), 1U);
          }
        }
        EXPECT_EQ(next, end);
      }
    }
  }
}

TEST(Shards, HeldSubtreesOfNothingIsNothing) { EXPECT_TRUE(held_subtrees({2, 2}, 4).empty()); }

TEST(Shards, SumsToTheBitsOfTheTreeForEveryNumberOfWorkers) {
  for (int shards = 1; shards <= kMostShards; ++shards) {
    const float expected = tree_sum(0, shards);
    for (int workers = 1; workers <= shards; ++workers) {
      std::vector<ShardRange> cover;
      std::vector<float> sums;
      for (int rank = 0; rank < workers; ++rank) {
        for (const ShardRange& held : held_subtrees(shards_of(rank, workers, shards), shards)) {
          cover.push_back(held);
          sums.push_back(tree_sum(held.begin, held.end));
        }
      }
      EXPECT_EQ(run_program(sum_program(cover, shards), sums), expected)
          << shards << " shards, " << workers << " workers";
    }
  }
}

TEST(Shards, SumsWhatWorkersStackedUpToTheBitsOfTheTree) {
  for (int shards = 1; shards <= kMostShards; ++shards) {
    const float expected = tree_sum(0, shards);
    std::vector<int> sizes{shards};
    for (int group = 1; shards % group == 0; group *= 2) sizes.push_back(group);
    for (const int group : sizes) {
      for (int workers = 1; workers <= shards; ++workers) {
        const ShardLayout layout = ShardLayout::even(workers, shards, group);
        std::vector<ShardRange> cover;
        std::vector<float> sums;
        for (const ShardRange& range : layout.of_worker) {
          const Fragments fragments = fragments_of(range, layout);
          const std::vector<float> mine = fragment_sums(range, layout);
          EXPECT_EQ(mine.size(), fragments.sums.size());
          const int groups = (range.end - 1) / group - range.begin / group;  // behind the first
          EXPECT_LE(fragments.buffers, 2 * std::bit_width(static_cast<unsigned>(range.end - range.begin)) + groups);
          for (const ShardRange& sum : fragments.sums) EXPECT_EQ(sum.begin / group, (sum.end - 1) / group);
          cover.insert(cover.end(), fragments.sums.begin(), fragments.sums.end());
          sums.insert(sums.end(), mine.begin(), mine.end());
        }
        EXPECT_EQ(run_program(sum_program(cover, shards), sums), expected)
            << shards << " shards in groups of " << group << ", " << workers << " workers";
      }
    }
  }
}

TEST(Shards, RefusesACoverWithAGapOrWithoutTheTreesBorders) {
  EXPECT_THROW(static_cast<void>(sum_program({{0, 1}, {2, 4}}, 4)), Error);
  EXPECT_THROW(static_cast<void>(sum_program({{0, 1}, {1, 3}, {3, 4}}, 4)), Error);
  EXPECT_THROW(static_cast<void>(sum_program({{0, 2}}, 4)), Error);
  EXPECT_THROW(static_cast<void>(sum_program({{0, 4}, {0, 4}}, 4)), Error);
}

}  // namespace
}  // namespace ballast
