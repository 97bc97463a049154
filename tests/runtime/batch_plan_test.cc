#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/dataset.h"
#include "tests/runtime/data_files.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// The global batch of a step, in order of shards.
std::vector<std::int64_t> batch_of(const BatchPlan& plan, std::int64_t step, int shards) {
  std::vector<std::int64_t> batch;
  for (int s = 0; s < shards; ++s) {
    std::int64_t first = -1;
    const std::vector<std::int64_t> shard = plan.shard(step, s, first);
    EXPECT_EQ(first, static_cast<std::int64_t>(batch.size()));
    batch.insert(batch.end(), shard.begin(), shard.end());
  }
  return batch;
}

std::vector<std::int64_t> epoch_of(const BatchPlan& plan, std::int64_t epoch, int shards) {
  std::vector<std::int64_t> samples;
  for (std::int64_t step = epoch * plan.steps_per_epoch(); step < (epoch + 1) * plan.steps_per_epoch(); ++step) {
    const std::vector<std::int64_t> batch = batch_of(plan, step, shards);
    EXPECT_EQ(static_cast<std::int64_t>(batch.size()), plan.batch_size(step));
    samples.insert(samples.end(), batch.begin(), batch.end());
  }
  return samples;
}

TEST(BatchPlan, EpochHoldsEverySampleOnceForAnyNumberOfShards) {
  for (const int shards : {1, 2, 3, 4, 6, 12}) {
    for (const std::int64_t samples : {12, 13, 23, 24, 100}) {
      const BatchPlan plan(samples, 12, shards, true, 5);
      for (const std::int64_t epoch : {0, 1, 7}) {
        std::vector<std::int64_t> seen = epoch_of(plan, epoch, shards);
        std::sort(seen.begin(), seen.end());
        EXPECT_EQ(static_cast<std::int64_t>(seen.size()), samples);
        for (std::size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], static_cast<std::int64_t>(i));
      }
    }
  }
}

TEST(BatchPlan, GlobalBatchIsTheSameHoweverItIsCut) {
  const BatchPlan one(100, 12, 1, true, 5);
  const BatchPlan four(100, 12, 4, true, 5);
  for (const std::int64_t step : {0, 3, 8, 20}) EXPECT_EQ(batch_of(one, step, 1), batch_of(four, step, 4)) << step;
}

TEST(BatchPlan, EpochsAndSeedsHaveTheirOwnOrder) {
  const BatchPlan plan(100, 10, 2, true, 5);
  EXPECT_NE(epoch_of(plan, 0, 2), epoch_of(plan, 1, 2));
  EXPECT_NE(epoch_of(plan, 0, 2), epoch_of(BatchPlan(100, 10, 2, true, 6), 0, 2));
}

TEST(BatchPlan, KeepsTheOrderOfTheDataWithoutShuffling) {
  const BatchPlan plan(10, 4, 2, false, 5);
  std::int64_t first = -1;
  EXPECT_THAT(plan.shard(1, 1, first), ElementsAre(6, 7));
  EXPECT_EQ(first, 2);
  EXPECT_EQ(epoch_of(plan, 0, 2), epoch_of(plan, 1, 2));
}

TEST(BatchPlan, LastBatchIsShortAndItsLastShardsShortOrEmpty) {
  const BatchPlan plan(13, 8, 4, false, 5);
  EXPECT_EQ(plan.steps_per_epoch(), 2);
  EXPECT_EQ(plan.batch_size(0), 8);
  EXPECT_EQ(plan.batch_size(1), 5);
  EXPECT_EQ(plan.batch_size(2), 8);
  std::int64_t first = -1;
  EXPECT_THAT(plan.shard(1, 1, first), ElementsAre(10, 11));
  EXPECT_THAT(plan.shard(1, 2, first), ElementsAre(12));
  EXPECT_EQ(first, 4);
  EXPECT_THAT(plan.shard(1, 3, first), IsEmpty());
  EXPECT_EQ(first, 5);
}

TEST(BatchPlan, RefusesABatchThatCannotBeCutAndNamesTheNearestThatCan) {
  EXPECT_THAT(message_of<ConfigError>([] { (void)BatchPlan(100, 10, 4, true, 5); }),
              AllOf(HasSubstr("batch.size = 10"), HasSubstr("batch.shards = 4"), HasSubstr("to 8 or 12")));
  EXPECT_THAT(message_of<ConfigError>([] { (void)BatchPlan(100, 3, 4, true, 5); }), HasSubstr("batch.size to 4"));
}

TEST(BatchPlan, RefusesFewerSamplesThanOneBatch) {
  EXPECT_THAT(message_of<DataError>([] { (void)BatchPlan(7, 8, 4, true, 5, "a.txt"); }),
              AllOf(HasSubstr("a.txt"), HasSubstr("7 training samples"), HasSubstr("batch.size = 8")));
}

}  // namespace
}  // namespace ballast
