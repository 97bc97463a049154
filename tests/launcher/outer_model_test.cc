#include "launcher/plan/outer_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstring>

namespace ballast {
namespace {

constexpr std::int64_t kBlock = 8192;
constexpr double kBlockBytes = 4.0 * kBlock;
constexpr std::int64_t kBlocks = 4;
constexpr double kAll = kBlocks * kBlockBytes;  // bytes of all outer values

/// A node sends a block a second, and memory costs nothing.
ClusterSection slow_cluster() {
  ClusterSection cluster;
  cluster.memory_bandwidth = 1e18;
  cluster.network_bandwidth = kBlockBytes;
  cluster.latency = cluster.message_seconds = 0.0;
  return cluster;
}

std::vector<BucketLoad> fragment(std::int64_t count, const Ownership& who, const GradientCoding& coding = {}) {
  std::vector<Block> blocks;
  for (std::int64_t b = 0; b < count; ++b) blocks.push_back({b * kBlock, (b + 1) * kBlock, DType::kF32});
  return cut_loads(blocks, 2 * static_cast<std::int64_t>(kBlockBytes), who, coding);
}

/// A second, in which the worker computes.
StepPrediction step_of_a_second() {
  return {.seconds = 1.0, .worker_seconds = 1.0, .critical_path = {{"forward", 0.25}, {"backward", 0.75}}};
}

/// Every tenth step, one group to a worker.
OuterLoad tenth_step(std::int64_t delay = 0) { return {.every = 10, .delay = delay, .sums = {}}; }

StepPrediction predict(const OuterLoad& load, const Ownership& who, std::int64_t fragments = 1) {
  const std::vector<std::vector<BucketLoad>> all(static_cast<std::size_t>(fragments),
                                                 fragment(kBlocks / fragments, who));
  return predict_period(load, step_of_a_second(), fragment(kBlocks, load.team), all, who, slow_cluster());
}

TEST(OuterModel, AloneAWorkerWaitsForNobody) {
  const StepPrediction step = predict(tenth_step(), {1, 1});
  EXPECT_NEAR(step.seconds, 1.0, 1e-9);
  EXPECT_DOUBLE_EQ(step.bytes_out, 0.0);
  EXPECT_EQ(step.steps, 10);
}

TEST(OuterModel, WithoutADelayAnExchangeIsPaidInFull) {
  // Half of 4 blocks to the other node, and half as new values: 2 s each.
  const StepPrediction step = predict(tenth_step(), {2, 1});
  EXPECT_NEAR(step.seconds, (10.0 + 4.0) / 10.0, 1e-9);
  EXPECT_NEAR(step.worker_seconds, 1.0, 1e-9);
  EXPECT_NEAR(step.link_out_seconds, 0.4, 1e-9);
  EXPECT_NEAR(predict(tenth_step(), {2, 1}, 2).seconds, 1.4, 1e-9) << "two fragments of half the size";
}

TEST(OuterModel, ADelayHidesBothHalvesOfAnExchange) {
  // Differences have half of the delay, rounded up, and new values the rest.
  EXPECT_NEAR(predict(tenth_step(1), {2, 1}).seconds, (10.0 + 1.0 + 2.0) / 10.0, 1e-9);
  EXPECT_NEAR(predict(tenth_step(2), {2, 1}).seconds, (10.0 + 1.0 + 1.0) / 10.0, 1e-9);
  EXPECT_NEAR(predict(tenth_step(3), {2, 1}).seconds, (10.0 + 0.0 + 1.0) / 10.0, 1e-9);
  for (const std::int64_t delay : {4, 5, 9}) EXPECT_NEAR(predict(tenth_step(delay), {2, 1}).seconds, 1.0, 1e-9);
}

TEST(OuterModel, SpreadsTheBytesOfAnExchangeOverItsPeriod) {
  for (const std::int64_t nodes : {2, 4}) {
    for (const std::size_t fragments : {1, 2}) {
      const Ownership who{nodes, 1};
      // Of each fragment every node owns as much.
      const std::vector<std::vector<BucketLoad>> all(fragments, fragment(kBlocks, who));
      const OuterLoad load = tenth_step(3);
      const StepPrediction step =
          predict_period(load, step_of_a_second(), fragment(kBlocks, load.team), all, who, slow_cluster());
      const double share = static_cast<double>(nodes - 1) / static_cast<double>(nodes);
      EXPECT_NEAR(step.bytes_out, 2.0 * share * kAll * static_cast<double>(fragments) / 10.0, 1e-6) << nodes;
      EXPECT_NEAR(step.bytes_in, step.bytes_out, 1e-6);
    }
  }
}

TEST(OuterModel, CodesShortenBothDirections) {
  const Ownership who{2, 1};
  const GradientCoding coding{.coding = Coding::kInt8};
  OuterLoad load = tenth_step();
  load.sums = {.coded = true, .errors = true};
  const StepPrediction step = predict_period(load, step_of_a_second(), fragment(kBlocks, {1, 1}),
                                             {fragment(kBlocks, who, coding)}, who, slow_cluster());
  const double fraction = 8.125 / 32.0;
  EXPECT_NEAR(step.bytes_out, fraction * kAll / 10.0, 1e-6);
  EXPECT_NEAR(step.seconds, (10.0 + 4.0 * fraction) / 10.0, 1e-9);
}

TEST(OuterModel, SeveralCopiesOfAWorkerAreTrainedOneAfterTheOther) {
  OuterLoad load = tenth_step(4);
  load.of_worker = 3.0;
  const StepPrediction step = predict(load, {2, 1});
  EXPECT_NEAR(step.seconds, 3.0, 1e-9);
  EXPECT_NEAR(step.worker_seconds, 3.0, 1e-9);
}

TEST(OuterModel, CountsEveryPassOverMemory) {
  OuterLoad load = tenth_step();
  ClusterSection cluster = slow_cluster();
  cluster.memory_bandwidth = kBlockBytes;
  const double blocks = kBlocks / 4.0;  // seconds of a byte for each element
  const auto seconds = [&] {
    const Ownership alone{1, 1};
    return 10.0 * predict_period(load, step_of_a_second(), fragment(kBlocks, alone), {fragment(kBlocks, alone)}, alone,
                                 cluster)
                      .seconds -
           10.0;
  };
  // A difference, the sum of one, the update, and the copy taken over.
  EXPECT_NEAR(seconds(), (20.0 + 4.0 + 20.0 + 8.0) * blocks, 1e-9);
  load.refresh_bytes = 6.0;
  EXPECT_NEAR(seconds(), (20.0 + 4.0 + 20.0 + 8.0 + 6.0) * blocks, 1e-9);
  load.refresh_bytes = 0.0;
  load.of_worker = load.of_node = load.led = 2.0;  // two are added up, and one sum is left
  EXPECT_NEAR(seconds(), 10.0 + (2 * 20.0 + 12.0 + 4.0 + 20.0 + 2 * 8.0) * blocks, 1e-9);
}

/// Two teams of two nodes each.
OuterLoad team_of_two_nodes(std::int64_t delay) {
  OuterLoad load = tenth_step(delay);
  load.team = {2, 1};
  load.of_node = 0.5;
  return load;
}

TEST(OuterModel, ATeamOnSeveralNodesGathersItsCopyBeforeAndPublishesItBehind) {
  const StepPrediction step = predict(team_of_two_nodes(0), {4, 1});
  // Within the team half of 4 blocks, twice. The leader sends what three others own and gets another one's quarter.
  EXPECT_NEAR(step.bytes_out, (2.0 * kAll / 2.0 + 0.75 * kAll + 0.75 * kAll) / 10.0, 1e-6);
  EXPECT_NEAR(step.bytes_in, (2.0 * kAll / 2.0 + 0.25 * kAll + 0.75 * kAll) / 10.0, 1e-6);
  EXPECT_NEAR(step.seconds, (10.0 + 2.0 + 3.0 + 3.0 + 2.0) / 10.0, 1e-9);
  EXPECT_NEAR(predict(team_of_two_nodes(8), {4, 1}).seconds, (10.0 + 2.0 + 2.0) / 10.0, 1e-9) << "no delay hides that";
}

TEST(OuterModel, AnExchangeGetsWhatATeamLeavesOfTheLink) {
  StepPrediction inner = step_of_a_second();
  inner.link_out_seconds = 0.5;
  inner.tasks = {{.phase = "send sums", .resource = Resource::kLinkIn}};
  inner.times = {{0.0, 0.5}};
  const Ownership who{2, 1};
  const auto seconds = [&](std::int64_t delay) {
    const std::vector<Block> blocks = {
        {0, kBlock / 2}, {kBlock / 2, kBlock}, {kBlock, 3 * kBlock / 2}, {3 * kBlock / 2, 2 * kBlock}};
    // Buckets of a block: half a second each, two of them.
    const auto buckets = cut_loads(blocks, static_cast<std::int64_t>(kBlockBytes), who);
    return 10.0 * predict_period(tenth_step(delay), inner, fragment(2, {1, 1}), {buckets}, who, slow_cluster()).seconds;
  };
  EXPECT_NEAR(seconds(0), 10.0 + 2.0, 1e-9) << "training stands still meanwhile";
  EXPECT_NEAR(seconds(2), 10.0 + 0.5 + 0.5, 1e-9) << "half a second of each step is left";
  EXPECT_NEAR(seconds(4), 10.0, 1e-9);
}

TEST(OuterModel, TheCriticalPathIsThatOfAMeanStep) {
  const StepPrediction step = predict(tenth_step(2), {2, 1}, 2);
  double sum = 0.0, forward = 0.0;
  int differences = 0;
  for (const auto& [phase, seconds] : step.critical_path) {
    sum += seconds;
    if (std::strcmp(phase, "forward") == 0) forward += seconds;
    differences +=
        std::strcmp(phase, "send differences") == 0 || std::strcmp(phase, "receive differences") == 0 ? 1 : 0;
  }
  EXPECT_NEAR(sum, step.seconds, 1e-9);
  EXPECT_NEAR(forward, 0.25, 1e-9);
  EXPECT_LE(differences, 2) << "every phase once";
}

TEST(OuterModel, ManyNodesAndLongPeriodsTakeLessThanASecond) {
  const auto begin = std::chrono::steady_clock::now();
  OuterLoad load = tenth_step(40);
  load.every = 500;
  const Ownership who{16384, 8};
  const std::vector<std::vector<BucketLoad>> fragments(4, fragment(2000, who));
  EXPECT_GT(predict_period(load, step_of_a_second(), fragment(8000, {1, 1}), fragments, who, slow_cluster()).seconds,
            1.0);
  load.every = 1'000'000'000;
  load.delay = 999'999'999;
  StepPrediction inner = step_of_a_second();
  inner.link_out_seconds = 0.1;
  EXPECT_GT(predict_period(load, inner, fragment(8000, {1, 1}), fragments, who, slow_cluster()).seconds, 0.9);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 1.0);
}

}  // namespace
}  // namespace ballast
