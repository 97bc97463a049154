#include "runtime/batch_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include "tests/runtime/data_files.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr SampleOrder kInOrder{.shuffle = false};

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
      const BatchPlan plan(samples, 12, shards, {}, 5);
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
  const BatchPlan one(100, 12, 1, {}, 5);
  const BatchPlan four(100, 12, 4, {}, 5);
  for (const std::int64_t step : {0, 3, 8, 20}) EXPECT_EQ(batch_of(one, step, 1), batch_of(four, step, 4)) << step;
}

TEST(BatchPlan, EpochsAndSeedsHaveTheirOwnOrder) {
  const BatchPlan plan(100, 10, 2, {}, 5);
  EXPECT_NE(epoch_of(plan, 0, 2), epoch_of(plan, 1, 2));
  EXPECT_NE(epoch_of(plan, 0, 2), epoch_of(BatchPlan(100, 10, 2, {}, 6), 0, 2));
}

TEST(BatchPlan, KeepsTheOrderThatCheckpointsWereTrainedIn) {
  const BatchPlan plan(1000, 12, 3, {}, 5);
  std::int64_t first = -1;
  EXPECT_THAT(plan.shard(7, 1, first), ElementsAre(351, 449, 523, 104));
  EXPECT_THAT(plan.shard(200, 2, first), ElementsAre(441, 615, 276, 372));
}

TEST(BatchPlan, KeepsTheOrderOfTheDataWithoutShuffling) {
  const BatchPlan plan(10, 4, 2, kInOrder, 5);
  std::int64_t first = -1;
  EXPECT_THAT(plan.shard(1, 1, first), ElementsAre(6, 7));
  EXPECT_EQ(first, 2);
  EXPECT_EQ(epoch_of(plan, 0, 2), epoch_of(plan, 1, 2));
}

TEST(BatchPlan, LastBatchIsShortAndItsLastShardsShortOrEmpty) {
  const BatchPlan plan(13, 8, 4, kInOrder, 5);
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
  EXPECT_THAT(message_of<ConfigError>([] { (void)BatchPlan(100, 10, 4, {}, 5); }),
              AllOf(HasSubstr("batch.size = 10"), HasSubstr("batch.shards = 4"), HasSubstr("to 8 or 12")));
  EXPECT_THAT(message_of<ConfigError>([] { (void)BatchPlan(100, 3, 4, {}, 5); }), HasSubstr("batch.size to 4"));
}

TEST(BatchPlan, RefusesFewerSamplesThanOneBatch) {
  EXPECT_THAT(message_of<DataError>([] { (void)BatchPlan(7, 8, 4, {}, 5, "a.txt"); }),
              AllOf(HasSubstr("a.txt"), HasSubstr("7 training samples"), HasSubstr("batch.size = 8")));
}

SampleOrder chunks_of(std::int64_t samples) { return {.chunk = samples}; }

TEST(BatchPlanInChunks, EpochHoldsEverySampleOnceForAnySize) {
  for (const int shards : {1, 2, 3, 6}) {
    for (const std::int64_t samples : {12, 13, 23, 24, 100, 997, 1000, 5000}) {
      for (const std::int64_t chunk : {1, 2, 7, 64, 1000}) {
        const BatchPlan plan(samples, 12, shards, chunks_of(chunk), 5);
        for (const std::int64_t epoch : {0, 3}) {
          std::vector<std::int64_t> seen = epoch_of(plan, epoch, shards);
          std::sort(seen.begin(), seen.end());
          std::vector<std::int64_t> all(static_cast<std::size_t>(samples));
          std::iota(all.begin(), all.end(), 0);
          EXPECT_EQ(seen, all) << shards << " shards, chunks of " << chunk;
        }
      }
    }
  }
}

TEST(BatchPlanInChunks, EpochsShardsAndSeedsHaveTheirOwnOrder) {
  const BatchPlan plan(4000, 10, 2, chunks_of(8), 5);
  EXPECT_NE(epoch_of(plan, 0, 2), epoch_of(plan, 1, 2));
  EXPECT_NE(epoch_of(plan, 0, 2), epoch_of(BatchPlan(4000, 10, 2, chunks_of(8), 6), 0, 2));
  std::vector<std::int64_t> of_shard[2];  // from where the shard's part begins
  for (std::int64_t step = 0; step < 400; ++step) {
    for (const int shard : {0, 1}) {
      std::int64_t first = -1;
      for (const std::int64_t index : plan.shard(step, shard, first)) of_shard[shard].push_back(index - 2000 * shard);
    }
  }
  EXPECT_NE(of_shard[0], of_shard[1]);
}

TEST(BatchPlanInChunks, AHostReadsItsPartOfTheDataInWhateverEpoch) {
  constexpr int kShards = 8;
  constexpr std::int64_t kSamples = 100'003;
  const BatchPlan plan(kSamples, 64, kShards, chunks_of(100), 5);
  std::set<std::int64_t> of_first_host, of_second_host;
  for (std::int64_t step = 0; step < 3 * plan.steps_per_epoch(); ++step) {
    for (int shard = 0; shard < kShards; ++shard) {
      std::int64_t first = -1;
      for (const std::int64_t index : plan.shard(step, shard, first)) {
        (shard < kShards / 2 ? of_first_host : of_second_host).insert(index);
      }
    }
  }
  EXPECT_EQ(of_first_host.size() + of_second_host.size(), static_cast<std::size_t>(kSamples));
  EXPECT_EQ(*of_first_host.rbegin() + 1, *of_second_host.begin());
}

/// Chunks, by the number of their first sample, that hold samples of these shards in steps [begin, end).
std::set<std::int64_t> chunks_touched(const BatchPlan& plan, int shards, std::int64_t begin, std::int64_t end,
                                      std::int64_t part, std::int64_t chunk) {
  std::set<std::int64_t> chunks;
  for (std::int64_t step = begin; step < end; ++step) {
    for (int shard = 0; shard < shards; ++shard) {
      std::int64_t first = -1;
      for (const std::int64_t index : plan.shard(step, shard, first)) {
        chunks.insert(index / part * part + index % part / chunk * chunk);
      }
    }
  }
  return chunks;
}

// 8 shards of 8 samples, parts of 1 000 chunks of 100 samples: a window of 16 chunks lasts 200 steps.
TEST(BatchPlanInChunks, AHostTouchesFewChunksAtATime) {
  constexpr std::int64_t kPart = 100'000, kChunk = 100;
  constexpr int kHostShards = 2;
  const BatchPlan plan(8 * kPart, 64, 8, chunks_of(kChunk), 5);
  const auto touched = [&](const BatchPlan& of, std::int64_t begin, std::int64_t end) {
    return chunks_touched(of, kHostShards, begin, end, kPart, kChunk).size();
  };
  for (const std::int64_t step : {0, 200, 5000, 12'300, 30'000}) {
    EXPECT_LE(touched(plan, step, step + 200), 2U * 16 * kHostShards) << "a window's steps, from " << step;
    EXPECT_LE(touched(plan, step, step + 1000), 6U * 16 * kHostShards) << step;
  }
  EXPECT_EQ(touched(plan, 400, 600), 16U * kHostShards);
  EXPECT_EQ(touched(plan, 600, 800), 16U * kHostShards);
  EXPECT_EQ(touched(plan, 400, 800), 2U * 16 * kHostShards) << "a chunk is done with when its window is";
  EXPECT_GT(touched(BatchPlan(8 * kPart, 64, 8, {}, 5), 400, 600), 2500U) << "of 3200 samples, shuffled one by one";
}

/// Of step and sample, over an epoch of 16,000 steps of one sample.
double correlation(std::int64_t chunk) {
  const BatchPlan plan(16'000, 1, 1, chunks_of(chunk), 5);
  double product = 0.0;
  for (std::int64_t step = 0; step < 16'000; ++step) {
    std::int64_t first = -1;
    product += (static_cast<double>(step) - 7999.5) * (static_cast<double>(plan.shard(step, 0, first)[0]) - 7999.5);
  }
  return product / (16e3 * 16e3 * 16e3 / 12.0);
}

TEST(BatchPlanInChunks, ChunksAndTheSamplesOfAWindowAreShuffled) {
  EXPECT_LT(std::abs(correlation(1000)), 0.05) << "one window; the deviation is 0.008";
  EXPECT_LT(std::abs(correlation(10)), 0.15) << "100 windows of 16 chunks; the deviation is 0.025";
}

/// A few steps around the ends of two epochs of more samples than 2^40.
void expect_sound_near_the_ends(std::int64_t samples, SampleOrder order) {
  constexpr std::int64_t kBatch = 48;
  constexpr int kShards = 4;
  const BatchPlan plan(samples, kBatch, kShards, order, 5);
  const std::int64_t steps = plan.steps_per_epoch();
  EXPECT_EQ(steps, (samples - 1) / kBatch + 1);
  EXPECT_EQ(plan.batch_size(steps - 1), samples - (steps - 1) * kBatch);
  for (const std::int64_t epoch : {0, 1, 5}) {
    std::set<std::int64_t> seen;
    std::size_t count = 0;
    for (std::int64_t step = epoch * steps; step < (epoch + 1) * steps; ++step) {
      if (step == epoch * steps + 100) step = (epoch + 1) * steps - 100;
      const std::vector<std::int64_t> batch = batch_of(plan, step, kShards);
      EXPECT_EQ(static_cast<std::int64_t>(batch.size()), plan.batch_size(step)) << step;
      seen.insert(batch.begin(), batch.end());
      count += batch.size();
    }
    EXPECT_EQ(seen.size(), count) << "a sample came twice in epoch " << epoch;
    EXPECT_GE(*seen.begin(), 0);
    EXPECT_LT(*seen.rbegin(), samples);
    EXPECT_GT(*seen.rbegin(), samples / 2);
  }
}

TEST(BatchPlan, CutsEpochsOfMoreThan2To40Samples) {
  for (const std::int64_t samples : {(std::int64_t{1} << 41) + 7, (std::int64_t{1} << 44) - 1, std::int64_t{1} << 49}) {
    for (const SampleOrder order : {SampleOrder{}, kInOrder, chunks_of(1), chunks_of(1000), chunks_of(1'000'000'000)}) {
      expect_sound_near_the_ends(samples, order);
    }
  }
}

}  // namespace
}  // namespace ballast
