#include "comm/split_allreduce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "tests/comm/training_steps.h"
#include "tests/support/reference_backend.h"
#include "tests/support/simulated_nodes.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

/// The number of workers whose bits are not `expected`.
int workers_that_differ(int workers, int per_node, const StepsOptions& options,
                        const std::vector<std::uint32_t>& expected) {
  std::atomic<int> differ = 0;
  run_workers(workers, per_node, [&](Communicator& world) {
    if (training_steps(world, options) != expected) ++differ;
  });
  return differ;
}

std::set<int> node_sizes(int workers) { return {1, std::min(2, workers), std::min(3, workers), workers}; }

void expect_the_bits_of_the_tree_on_every_layout(StepsOptions options) {
  const std::vector<std::uint32_t> expected = expected_steps(options);
  for (int workers = 1; workers <= options.split.shards; ++workers) {
    for (const int per_node : node_sizes(workers)) {
      for (const int coordinators : {0, 1, 2}) {
        for (const std::int64_t bucket_bytes : {std::int64_t{1}, std::int64_t{1500}, std::int64_t{1} << 40}) {
          options.split.coordinators = coordinators;
          options.split.bucket_bytes = bucket_bytes;
          EXPECT_EQ(workers_that_differ(workers, per_node, options, expected), 0)
              << workers << " workers, " << per_node << " per node, coordinators " << coordinators << ", bucket "
              << bucket_bytes << ", bf16 " << options.bf16;
        }
      }
    }
  }
}

class SplitAllReduceOfShards : public testing::TestWithParam<int> {};

TEST_P(SplitAllReduceOfShards, GivesTheBitsOfTheTreeOnAnyWorkersNodesCoordinatorsAndBuckets) {
  for (const bool bf16 : {false, true}) {
    expect_the_bits_of_the_tree_on_every_layout({.split = {.shards = GetParam()}, .bf16 = bf16});
  }
}

TEST_P(SplitAllReduceOfShards, GivesTheSameBitsWithoutSharedMemory) {
  const int shards = GetParam();
  StepsOptions options{.split = {.shards = shards, .bucket_bytes = 900, .share_memory = false}, .bf16 = true};
  const std::vector<std::uint32_t> expected = expected_steps(options);
  for (int workers = 1; workers <= shards; ++workers) {
    for (const int coordinators : {0, 1, 2}) {
      options.split.coordinators = coordinators;
      EXPECT_EQ(workers_that_differ(workers, workers, options, expected), 0)
          << workers << " workers, coordinators " << coordinators;
    }
  }
}

TEST_P(SplitAllReduceOfShards, GivesTheSameBitsWhereGradientsAreFreed) {
  expect_the_bits_of_the_tree_on_every_layout(
      {.split = {.shards = GetParam(), .sharding = Sharding::kGradients}, .bf16 = true});
}

TEST_P(SplitAllReduceOfShards, GivesTheSameBitsWhereValuesAreGathered) {
  for (const bool bf16 : {false, true}) {
    expect_the_bits_of_the_tree_on_every_layout(
        {.split = {.shards = GetParam(), .sharding = Sharding::kValues}, .bf16 = bf16});
  }
}

TEST_P(SplitAllReduceOfShards, GivesTheSameBitsWhereWorkersEvaluateBetweenSteps) {
  const int workers = GetParam();
  for (const Sharding sharding : {Sharding::kOptimizer, Sharding::kValues}) {
    const StepsOptions options{.split = {.shards = workers, .bucket_bytes = 900, .sharding = sharding},
                               .evaluate = true};
    const std::vector<std::uint32_t> expected = expected_steps(options);
    for (const int per_node : node_sizes(workers)) {
      EXPECT_EQ(workers_that_differ(workers, per_node, options, expected), 0)
          << workers << ", " << per_node << " a node";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, SplitAllReduceOfShards, testing::Values(1, 2, 3, 4, 5, 8));

TEST(SplitAllReduce, RefusesMoreWorkersThanShardsAndSaysBothRemedies) {
  run_workers(3, [](Communicator& world) {
    ReferenceBackend backend;
    try {
      const auto split = make_split_allreduce(world, backend, 16, {{0, 16, DType::kF32}}, false, {.shards = 2});
      ADD_FAILURE() << "was accepted";
    } catch (const ConfigError& error) {
      EXPECT_STREQ(error.what(),
                   "3 workers but batch.shards = 2: start at most 2 workers or set batch.shards to at least 3");
    }
  });
}

TEST(SplitAllReduce, RefusesBlocksThatOverlapOrLieOutside) {
  run_workers(1, [](Communicator& world) {
    ReferenceBackend backend;
    const auto make = [&](std::vector<Block> blocks) {
      const auto split = make_split_allreduce(world, backend, 32, std::move(blocks), false, {});
    };
    EXPECT_THROW(make({{0, 16, DType::kF32}, {8, 24, DType::kF32}}), Error);
    EXPECT_THROW(make({{0, 40, DType::kF32}}), Error);
    EXPECT_THROW(make({{0, 16, DType::kBF16}}), Error);  // without a bf16 copy
  });
}

TEST(SplitAllReduce, RefusesCallsOutOfOrder) {
  run_workers(1, [](Communicator& world) {
    ReferenceBackend backend;
    const auto split = make_split_allreduce(world, backend, 32, {{0, 32, DType::kF32}}, false, {.shards = 2});
    split->begin_step();
    EXPECT_THROW(split->begin_step(), Error);
    EXPECT_THROW(static_cast<void>(split->gradients(1)), Error);
    EXPECT_THROW(split->shard_done(0), Error);
    EXPECT_THROW(split->reduce(), Error);
    EXPECT_THROW(split->publish(), Error);
  });
}

TEST(SplitAllReduce, KeepsTheValuesOfANodeInOnePlaceAndPageAligned) {
  std::vector<const void*> values(4);
  run_workers(4, 2, [&](Communicator& world) {
    ReferenceBackend backend;
    const auto split = make_split_allreduce(world, backend, 5000, {{0, 5000, DType::kF32}}, true, {.shards = 4});
    values[static_cast<std::size_t>(world.rank())] = split->values().data;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(split->values().data) % 4096, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(split->compute_values().data) % 4096, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(split->sum().data) % 4096, 0U);
  });
  EXPECT_EQ(values[0], values[1]);
  EXPECT_EQ(values[2], values[3]);
  EXPECT_NE(values[0], values[2]);
}

TEST(SplitAllReduce, GivesTheSameBitsWhereOneThreadMayCommunicate) {
  StepsOptions options{.split = {.shards = 4, .bucket_bytes = 900}};
  const std::vector<std::uint32_t> expected = expected_steps(options);
  for (const Sharding sharding : {Sharding::kOptimizer, Sharding::kGradients}) {
    options.split.sharding = sharding;
    run_workers(4, [&](Communicator& world) {
      std::atomic<std::int64_t> sent = 0;
      SimulatedNodes nodes(world, 2, sent, /*concurrent=*/false);
      EXPECT_TRUE(training_steps(nodes, options) == expected);
    });
  }
}

TEST(SplitAllReduce, GathersValuesOnlyWhereAThreadCanAnswer) {
  run_workers(2, [](Communicator& world) {
    std::atomic<std::int64_t> sent = 0;
    SimulatedNodes nodes(world, 1, sent, /*concurrent=*/false);
    ReferenceBackend backend;
    const SplitAllReduceOptions options{.shards = 2, .sharding = Sharding::kValues};
    try {
      const auto split = make_split_allreduce(nodes, backend, 32, {{0, 32, DType::kF32}}, false, options);
      ADD_FAILURE() << "was accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("MPI_THREAD_MULTIPLE"));
      EXPECT_THAT(error.what(), testing::HasSubstr("set comm.sharding = \"gradients\""));
    }
    SimulatedNodes one_node(world, 2, sent, /*concurrent=*/false);  // nothing to gather
    const auto split = make_split_allreduce(one_node, backend, 32, {{0, 32, DType::kF32}}, false, options);
    EXPECT_EQ(split->values().size, 32);
  });
}

TEST(SplitAllReduce, RefusesNewValuesWhileOldOnesAreRead) {
  run_workers(2, 1, [](Communicator& world) {
    ReferenceBackend backend;
    const auto split = make_split_allreduce(world, backend, 32, {{0, 16, DType::kF32}, {16, 32, DType::kF32}}, false,
                                            {.shards = 2, .bucket_bytes = 1, .sharding = Sharding::kValues});
    split->publish();
    const ElementRange all{0, 32};
    split->use_values(std::span(&all, 1), {});
    EXPECT_THROW(split->publish(), Error);
    split->use_values({}, {});
  });
}

TEST(SplitAllReduce, ThatFailsLetsTheExceptionOutOfThoseWhoWaitForItsValues) {
  for (const int per_node : {1, 2}) {
    const auto fail = [](Communicator& world) {
      ReferenceBackend backend;
      const auto split = make_split_allreduce(world, backend, 64, {{0, 32, DType::kF32}, {32, 64, DType::kF32}}, false,
                                              {.shards = 4, .coordinators = 1, .sharding = Sharding::kValues});
      if (world.rank() == 0) throw DataError("data.bin: damaged");
      split->publish();
      const ElementRange all{0, 64};
      split->use_values(std::span(&all, 1), {});
    };
    EXPECT_THROW(run_workers(4, per_node, fail), DataError);
  }
}

TEST(SplitAllReduce, ThatFailsInTheMiddleOfAStepLetsTheExceptionOut) {
  const auto fail = [](Communicator& world) {
    ReferenceBackend backend;
    const auto split = make_split_allreduce(world, backend, 64, {{0, 32, DType::kF32}, {32, 64, DType::kF32}}, false,
                                            {.shards = 4, .bucket_bytes = 1, .share_memory = false});
    split->begin_step();
    static_cast<void>(split->gradients(world.rank()));
    split->gradients_ready(32);  // receives and sends are under way
    if (world.rank() == 2) throw DataError("data.bin: damaged");
    split->shard_done(world.rank());
    split->reduce();
    split->publish();
  };
  EXPECT_THROW(run_workers(4, fail), DataError);
}

}  // namespace
}  // namespace ballast
