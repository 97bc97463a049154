#include "launcher/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "compute/error.h"
#include "models/model.h"

namespace ballast {
namespace {

JobConfig small_job() {
  JobConfig config;
  config.model.features = 16;
  config.model.hidden = {};
  config.model.classes = 16;
  config.batch.size = 32;
  config.batch.shards = 8;
  return config;
}

constexpr std::int64_t kWeights = 16 * 16 + 16;  // both multiples of 16 elements: no padding

TEST(Plan, CountsBytesOfOneWorker) {
  const PlanReport plan = make_plan(small_job(), 1);
  EXPECT_EQ(plan.parameters, kWeights);
  EXPECT_EQ(plan.micro, 4);
  EXPECT_EQ(plan.memory.values, 4 * kWeights);
  EXPECT_EQ(plan.memory.gradients, 4 * 4 * kWeights) << "sums of 4, 2 and 1 shards and the eighth";
  EXPECT_EQ(plan.memory.exchange, 0);
  EXPECT_EQ(plan.memory.optimizer, 8 * kWeights);
  EXPECT_EQ(plan.memory.snapshot, 12 * kWeights);
  EXPECT_EQ(plan.checkpoint_bytes, 12 * kWeights);
  EXPECT_EQ(plan.wire_bytes, 0);
  EXPECT_FALSE(plan.values_shared);
  EXPECT_GE(plan.flops_per_step, 32 * 2.0 * 2 * 256);
  EXPECT_EQ(plan.memory.total(), plan.memory.values + plan.memory.gradients + plan.memory.optimizer +
                                     plan.memory.activations + plan.memory.samples + plan.memory.snapshot);
}

TEST(Plan, SharesStateAndTrafficAmongWorkers) {
  const PlanReport plan = make_plan(small_job(), 4);
  EXPECT_EQ(plan.memory.optimizer, 2 * kWeights);
  EXPECT_EQ(plan.wire_bytes, 2 * 3 * kWeights) << "2 (N-1)/N of the gradient";
  EXPECT_TRUE(plan.values_shared);
}

TEST(Plan, CountsAPartialSumForEverySubtree) {
  const PlanReport plan =
      make_plan(small_job(), 3);  // shards 3 + 3 + 2: the second has 3, 4 and 5, which do not add up
  EXPECT_EQ(plan.memory.gradients, 3 * 4 * kWeights);
}

TEST(Plan, KeepsOneGradientWhereEveryWorkerHasOneShard) {
  EXPECT_EQ(make_plan(small_job(), 8).memory.gradients, 4 * kWeights);
}

TEST(Plan, AddsMessagesWhereThereAreSeveralNodes) {
  JobConfig config = small_job();
  config.batch.shards = 4;
  EXPECT_EQ(make_plan(config, 4, 4).memory.exchange, 3 * kWeights) << "what three others hold of a quarter";
  EXPECT_EQ(make_plan(config, 4, 2).memory.exchange, kWeights + kWeights)
      << "and what goes out, where two are added before";
}

TEST(Plan, FreesGradientsWithTheirBuckets) {
  JobConfig config = small_job();
  config.comm.sharding = "gradients";
  config.comm.bucket_mib = 1e-6;
  config.model.hidden = {16, 16};
  constexpr std::int64_t kAll = 4 * 3 * kWeights, kWaiting = 4 * 16 * 16 + 6;  // the largest tensor, 6 buckets
  EXPECT_EQ(make_plan(config, 8).memory.gradients, kAll / 8 + kWaiting);
  EXPECT_EQ(make_plan(config, 4).memory.gradients, kAll + kWaiting) << "beside the first shard's";
}

TEST(Plan, KeepsItsOwnValuesAndAWindowWhereTheyAreGathered) {
  JobConfig config = small_job();
  config.model.hidden = std::vector<std::int64_t>(14, 1024);  // layers of 128 blocks
  config.comm.sharding = "values";
  config.comm.bucket_mib = 0.25;                       // 8 blocks
  constexpr std::int64_t kLayer = 1024 * 1024 + 1024;  // of weights
  for (const char* precision : {"f32", "bf16"}) {
    config.precision.compute = precision;
    const std::int64_t published = config.precision.compute == "bf16" ? 2 : 4;
    const std::int64_t all = build_model(config.model, dtype_named(precision), 1).parameters().flat_size();
    const std::int64_t own = all / 4 * (published == 2 ? 6 : 4);
    const double window = static_cast<double>(make_plan(config, 4, 4).memory.values - own);
    const double layers = window / (0.75 * static_cast<double>(kLayer * published));
    EXPECT_GT(layers, 1.0 + kValuesAhead) << "what an operation and the next ones read";
    EXPECT_LT(layers, 1.5 + kValuesAhead);
  }
  EXPECT_EQ(make_plan(config, 4, 1).memory.values, make_plan(config, 1).memory.values)
      << "nothing to gather on one node";
}

TEST(Plan, SendsGatheredValuesForwardAndBackwardInEveryPass) {
  JobConfig config = small_job();
  config.model.hidden = std::vector<std::int64_t>(28, 1024);
  config.comm.bucket_mib = 0.25;
  const std::int64_t all = 4 * build_model(config.model, DType::kF32, 1).parameters().flat_size();
  const std::int64_t once = make_plan(config, 4).wire_bytes;
  config.comm.sharding = "values";
  const std::int64_t twice = make_plan(config, 4).wire_bytes;  // two shards each
  EXPECT_NEAR(static_cast<double>(twice - once), 3.0 * 0.75 * static_cast<double>(all),
              0.25 * static_cast<double>(all));
}

TEST(Plan, GivesEveryDeviceItsOwnValues) {
  JobConfig config = small_job();
  config.compute.backend = "cuda";
  EXPECT_FALSE(make_plan(config, 4).values_shared);
}

/// A million weights and a group for each of four workers.
JobConfig slow_link_job(const char* compression, std::int64_t every) {
  JobConfig config = small_job();
  config.model.features = 1023;
  config.model.classes = 1024;
  config.comm.compression = compression;
  config.comm.groups = 4;
  config.outer.every = every;
  return config;
}

TEST(Plan, SendsSumsInTheirCodeAndValuesAsTheyAre) {
  const double direction = 0.75 * 4.0 * (1 << 20);
  const std::pair<const char*, double> kShares[] = {{"none", 1.0},        {"bf16", 0.5},  {"int8", 65.0 / 256.0},
                                                    {"int4", 9.0 / 64.0}, {"topk", 0.01}, {"sign", 257.0 / 8192.0}};
  for (const auto& [compression, share] : kShares) {
    const auto sent = static_cast<double>(make_plan(slow_link_job(compression, 0), 4).wire_bytes);
    EXPECT_NEAR(sent / direction, 1.0 + share, 1e-3) << compression;
    const auto exchanged = static_cast<double>(make_plan(slow_link_job(compression, 50), 4).wire_bytes);
    EXPECT_NEAR(exchanged / direction, 2.0 * share / 50.0, 1e-4) << compression;
  }
}

TEST(Plan, AGroupOfSeveralWorkersSendsInEveryStep) {
  JobConfig config = slow_link_job("int4", 50);
  config.comm.groups = 2;
  const auto sent = static_cast<double>(make_plan(config, 4).wire_bytes);
  EXPECT_NEAR(sent / (4.0 * (1 << 20)), 2.0 * 0.5 + (2.0 * 0.75 * 9.0 / 64.0 + 2.0 * 0.5) / 50.0, 1e-3)
      << "within the team sums and values; every 50 steps differences and changes, the copy before and behind";
}

TEST(Plan, WritesCopiesAndErrorsIntoCheckpoints) {
  const auto saved = [](const char* compression, std::int64_t every) {
    return make_plan(slow_link_job(compression, every), 4).checkpoint_bytes / (4 << 20);
  };
  EXPECT_EQ(saved("none", 0), 3);
  EXPECT_EQ(saved("int8", 0), 3 + 4);
  EXPECT_EQ(saved("bf16", 0), 3) << "leaves no errors";
  EXPECT_EQ(saved("none", 50), 2 + 4 * 3) << "outer values, momentum, and four copies with their states";
  EXPECT_EQ(saved("int8", 50), 2 + 4 * 3 + 4 + 1);
}

TEST(Plan, PutsEverythingOnASingleCoordinator) {
  JobConfig config = small_job();
  config.comm.coordinators = 1;
  const PlanReport plan = make_plan(config, 4);
  EXPECT_EQ(plan.memory.optimizer, 8 * kWeights);
  EXPECT_EQ(plan.wire_bytes, 3 * 4 * kWeights) << "the coordinator sends all values to three others";
}

TEST(Plan, AddsTheCopyThatBf16ComputesWith) {
  JobConfig config = small_job();
  config.precision.compute = "bf16";
  EXPECT_EQ(make_plan(config, 1).memory.values, 6 * kWeights);
}

TEST(Plan, RoundsShardsUpWhereNoneAreGiven) {
  JobConfig config = small_job();
  config.batch.shards = 0;
  EXPECT_EQ(make_plan(config, 3).shards, 4);
}

TEST(Plan, RefusesMoreWorkersThanShards) {
  try {
    (void)make_plan(small_job(), 9);
    ADD_FAILURE() << "no error";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("use at most 8 workers, or set batch.shards to 16 or more"));
  }
}

}  // namespace
}  // namespace ballast
