#include "launcher/plan/step_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

namespace ballast {
namespace {

constexpr std::int64_t kBlock = 8192;
constexpr double kNorm = 1e-3;  // seconds that the tests leave for the norm's few bytes

/// A worker does one operation a second, and memory costs nothing.
ClusterSection slow_cluster(double network_bandwidth) {
  ClusterSection cluster;
  cluster.flops = 1.0;
  cluster.memory_bandwidth = 1e18;
  cluster.network_bandwidth = network_bandwidth;
  cluster.latency = cluster.message_seconds = 0.0;
  return cluster;
}

/// `count` blocks, all of one type.
std::vector<Block> blocks(std::int64_t count) {
  std::vector<Block> all;
  for (std::int64_t b = 0; b < count; ++b) all.push_back({b * kBlock, (b + 1) * kBlock, DType::kF32});
  return all;
}

/// Operations of one second forward and two backward, each with its share of `elements`.
StepLoad load_of(int operations, std::int64_t elements) {
  StepLoad load;
  for (int i = 0; i < operations; ++i) {
    load.operations.push_back({.name = "op",
                               .forward_flops = 1.0,
                               .backward_flops = 2.0,
                               .values = {{elements * i / operations, elements * (i + 1) / operations}},
                               .backward_values = {{elements * i / operations, elements * (i + 1) / operations}},
                               .ready_offset = elements * i / operations});
  }
  return load;
}

StepPrediction predict(const StepLoad& load, std::int64_t block_count, std::int64_t buckets, const Ownership& who,
                       const ClusterSection& cluster) {
  return predict_step(load, cut_loads(blocks(block_count), block_count * kBlock * 4 / buckets, who), who, cluster);
}

double norm_bytes(std::int64_t block_count, double nodes) {
  return 2.0 * 8.0 * static_cast<double>(block_count) * (nodes - 1) / nodes;
}

TEST(StepModel, AloneAWorkerOnlyComputes) {
  const StepPrediction step = predict(load_of(2, 2 * kBlock), 2, 2, {}, slow_cluster(1.0));
  EXPECT_NEAR(step.seconds, 6.0, kNorm);
  EXPECT_DOUBLE_EQ(step.bytes_out, 0.0);
  EXPECT_NEAR(step.exposed_seconds(), 0.0, kNorm);
}

TEST(StepModel, OneBucketHidesNothing) {
  // Values 1 s, forward 1 s, backward 2 s, sums 1 s.
  const StepPrediction step = predict(load_of(1, 2 * kBlock), 2, 1, {2, 1}, slow_cluster(4.0 * kBlock));
  EXPECT_NEAR(step.seconds, 5.0, kNorm);
  EXPECT_NEAR(step.exposed_seconds(), 2.0, kNorm);
}

TEST(StepModel, TwoBucketsOverlapWithBothPasses) {
  // Values of the lower half arrive at 1 and of the upper at 2; forward 1..3; backward 3..7; the upper half's sums
  // travel 5..6 beside it, the lower half's 7..8.
  const StepPrediction step = predict(load_of(2, 4 * kBlock), 4, 2, {2, 1}, slow_cluster(4.0 * kBlock));
  EXPECT_NEAR(step.seconds, 8.0, kNorm);
}

TEST(StepModel, ASlowLinkDecides) {
  // As above with 10 s for each passage: values at 10 and 20, forward ends at 21, backward of the upper half at 23,
  // then both halves' sums: 43.
  const StepPrediction step = predict(load_of(2, 4 * kBlock), 4, 2, {2, 1}, slow_cluster(0.4 * kBlock));
  EXPECT_NEAR(step.seconds, 43.0, 10 * kNorm);
  EXPECT_NEAR(step.link_out_seconds, 40.0, 10 * kNorm);
}

TEST(StepModel, LatencyIsPaidForValuesForSumsAndInTheNorm) {
  ClusterSection cluster = slow_cluster(1e12);
  cluster.latency = 1.0;
  // Values 1, forward 1, backward 2, sums 1, norm 2 messages.
  const StepPrediction step = predict(load_of(1, 2 * kBlock), 2, 1, {2, 1}, cluster);
  EXPECT_NEAR(step.seconds, 7.0, kNorm);
}

TEST(StepModel, EveryMessageCostsItsSeconds) {
  ClusterSection cluster = slow_cluster(1e12);
  cluster.message_seconds = 1.0;
  // Three partners for values and for sums, two rounds of two messages for the norm, 3 s of computation.
  const StepPrediction step = predict(load_of(1, 4 * kBlock), 4, 1, {4, 1}, cluster);
  EXPECT_NEAR(step.seconds, 3.0 + 3.0 + 3.0 + 4.0, kNorm);
  EXPECT_DOUBLE_EQ(step.messages_out, 6.0);
}

TEST(StepModel, BytesTakeTimeFromTheWorkersOfTheirNode) {
  for (const int workers : {1, 2}) {
    ClusterSection cluster = slow_cluster(1e12);
    cluster.workers = workers;
    cluster.network_overhead = 0.125 / kBlock * workers;
    // A node sends two blocks of sums and two of values, and receives as many: a second each, shared by its workers.
    const StepPrediction step = predict(load_of(1, 4 * kBlock), 4, 1, {2, workers}, cluster);
    EXPECT_NEAR(step.seconds, 3.0 + 4.0, kNorm);
  }
}

TEST(StepModel, LargeMessagesCountByPieces) {
  ClusterSection cluster = slow_cluster(1e12);
  cluster.message_seconds = 1.0;
  // A slice of 32 blocks of 32 KiB is four pieces.
  const StepPrediction step = predict(load_of(1, 64 * kBlock), 64, 1, {2, 1}, cluster);
  EXPECT_NEAR(step.seconds, 3.0 + 4.0 + 4.0 + 2.0, kNorm);
}

TEST(StepModel, MovesAsFewBytesAsAnAllReduceCan) {
  for (const std::int64_t nodes : {2, 4, 8, 16}) {
    for (const std::int64_t workers : {1, 2}) {
      const StepPrediction step = predict(load_of(2, 64 * kBlock), 64, 2, {nodes, workers}, slow_cluster(1e6));
      const double share = static_cast<double>(nodes - 1) / static_cast<double>(nodes);
      const double bound = 2.0 * share * 64 * kBlock * 4;
      EXPECT_NEAR(step.bytes_out - norm_bytes(64, static_cast<double>(nodes)), bound, 1.0) << nodes;
      EXPECT_NEAR(step.bytes_in, bound, 1.0) << nodes;
    }
  }
}

TEST(StepModel, SeveralPassesRunBeforeTheOneThatHandsOver) {
  StepLoad load = load_of(2, 4 * kBlock);
  load.passes = 3;
  const StepPrediction step = predict(load, 4, 2, {2, 1}, slow_cluster(4.0 * kBlock));
  EXPECT_NEAR(step.seconds, 8.0 + 2 * 6.0, kNorm);
}

TEST(StepModel, SummingAsBucketsComeNeedsNoTimeBehindBackward) {
  ClusterSection cluster = slow_cluster(4e3 * kBlock);
  cluster.memory_bandwidth = 24.0 * kBlock;
  StepLoad load = load_of(8, 16 * kBlock);
  load.update_bytes = 0.0;
  const StepPrediction late = predict(load, 16, 8, {2, 1}, cluster);
  load.free_gradients = true;
  const StepPrediction early = predict(load, 16, 8, {2, 1}, cluster);
  EXPECT_LE(early.seconds, late.seconds + kNorm);
  EXPECT_NEAR(early.worker_seconds, late.worker_seconds, kNorm) << "the same work";
}

TEST(StepModel, GatheredValuesComeAheadOfTheirOperations) {
  // Two operations of one bucket each, which pass in 1 s. Values of the lower half at 1, of the upper at 2;
  // forward 1..3; backward 3..7 finds them still there; sums as without gathering.
  StepLoad load = load_of(2, 4 * kBlock);
  load.gather_values = true;
  const StepPrediction step = predict(load, 4, 2, {2, 1}, slow_cluster(4.0 * kBlock));
  EXPECT_NEAR(step.seconds, 8.0, kNorm);
  load.passes = 2;
  EXPECT_NEAR(predict(load, 4, 2, {2, 1}, slow_cluster(4.0 * kBlock)).seconds, 8.0 + 6.0, kNorm)
      << "all are still here";
}

TEST(StepModel, GatheredValuesCrossTheWireTwiceForEachPass) {
  StepLoad load = load_of(16, 64 * kBlock);
  const double bucket = 64 * kBlock * 4 / 16 * 0.75;  // of others, on four nodes
  const double once = predict(load, 64, 16, {4, 1}, slow_cluster(1e6)).bytes_out;
  load.gather_values = true;
  for (const std::int64_t passes : {1, 2, 3, 7}) {
    load.passes = passes;
    const StepPrediction step = predict(load, 64, 16, {4, 1}, slow_cluster(1e6));
    // The first pass finds nothing here; seven are here from forward to backward, and four from a pass to the next.
    const double buckets = 16 + 9 + static_cast<double>(passes - 1) * (12 + 9);
    EXPECT_NEAR(step.bytes_out - once, (buckets - 16) * bucket, 1.0) << passes;
    EXPECT_NEAR(step.bytes_in, step.bytes_out - norm_bytes(64, 4.0), 1.0) << passes;
  }
}

TEST(StepModel, AQuestionCostsItsLatency) {
  ClusterSection cluster = slow_cluster(1e12);
  cluster.latency = 1.0;
  StepLoad load = load_of(1, 2 * kBlock);
  load.gather_values = true;
  // Question 1, values 1, forward 1, backward 2, sums 1, norm 2 messages.
  EXPECT_NEAR(predict(load, 2, 1, {2, 1}, cluster).seconds, 8.0, kNorm);
}

TEST(StepModel, WhatRunsForwardAgainIsGatheredAgain) {
  StepLoad load = load_of(16, 64 * kBlock);
  load.gather_values = true;
  const double without = predict(load, 64, 16, {4, 1}, slow_cluster(1e6)).bytes_out;
  for (int i = 0; i < 16; ++i) load.operations[15].again.push_back(i);
  const StepPrediction step = predict(load, 64, 16, {4, 1}, slow_cluster(1e6));
  EXPECT_NEAR(step.bytes_out - without, 16 * 64 * kBlock * 4 / 16 * 0.75, 64 * kBlock * 4);
  EXPECT_GT(step.bytes_out, without);
}

TEST(StepModel, NothingGetsSlowerWhereMachinesAreFaster) {
  ClusterSection cluster = slow_cluster(3.0 * kBlock);
  cluster.memory_bandwidth = 20.0 * kBlock;
  cluster.latency = cluster.message_seconds = 0.1;
  const StepLoad load = load_of(4, 16 * kBlock);
  const double before = predict(load, 16, 4, {4, 2}, cluster).seconds;
  for (double ClusterSection::*rate :
       {&ClusterSection::flops, &ClusterSection::memory_bandwidth, &ClusterSection::network_bandwidth}) {
    ClusterSection faster = cluster;
    faster.*rate *= 2.0;
    EXPECT_LT(predict(load, 16, 4, {4, 2}, faster).seconds, before);
  }
  for (double ClusterSection::*cost : {&ClusterSection::latency, &ClusterSection::message_seconds}) {
    ClusterSection faster = cluster;
    faster.*cost /= 2.0;
    EXPECT_LT(predict(load, 16, 4, {4, 2}, faster).seconds, before);
  }
}

TEST(StepModel, TheCriticalPathIsAsLongAsTheStep) {
  ClusterSection cluster = slow_cluster(3.0 * kBlock);
  cluster.latency = 0.25;
  const StepPrediction step = predict(load_of(4, 16 * kBlock), 16, 4, {4, 2}, cluster);
  double sum = 0.0;
  for (const auto& stretch : step.critical_path) sum += stretch.seconds;
  EXPECT_NEAR(sum, step.seconds, 1e-9 * step.seconds);
  EXPECT_STREQ(step.critical_path.back().phase, "update");
}

TEST(StepModel, SixteenThousandNodesTakeLessThanASecond) {
  const auto begin = std::chrono::steady_clock::now();
  const StepPrediction step = predict(load_of(600, 15000 * kBlock), 15000, 60, {16384, 8}, slow_cluster(1e9));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 1.0);
  EXPECT_GT(step.seconds, 0.0);
}

}  // namespace
}  // namespace ballast
