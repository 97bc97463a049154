#include "comm/device/device_allreduce.h"

#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <cmath>

#include "comm/device/no_exchange.h"
#include "tests/comm/training_steps.h"
#include "tests/support/host_exchange.h"
#include "tests/support/reference_backend.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

std::unique_ptr<SplitAllReduce> on_a_device(Communicator& world, Backend& backend, std::int64_t flat_size,
                                            std::vector<Block> blocks, bool bf16,
                                            const SplitAllReduceOptions& options) {
  std::unique_ptr<DeviceExchange> exchange = std::make_unique<NoExchange>();
  if (world.size() > 1) exchange = std::make_unique<HostExchange>(world, backend);
  return std::make_unique<DeviceAllReduce>(world, backend, flat_size, std::move(blocks), bf16, options,
                                           std::move(exchange));
}

int workers_that_differ(int workers, const StepsOptions& options, const std::vector<std::uint32_t>& expected) {
  std::atomic<int> differ = 0;
  run_workers(workers, [&](Communicator& world) {
    if (training_steps(world, options) != expected) ++differ;
  });
  return differ;
}

class DeviceAllReduceOfShards : public testing::TestWithParam<int> {};

TEST_P(DeviceAllReduceOfShards, GivesTheBitsOfTheNodesOwnOnAnyWorkersCoordinatorsAndBuckets) {
  const int shards = GetParam();
  for (const bool bf16 : {false, true}) {
    StepsOptions options{.split = {.shards = shards}, .bf16 = bf16};
    std::vector<std::uint32_t> expected;
    run_workers(1, [&](Communicator& alone) { expected = training_steps(alone, options); });
    options.make = on_a_device;
    for (int workers = 1; workers <= std::min(shards, 4); ++workers) {
      for (const int coordinators : {0, 1, 2}) {
        for (const std::int64_t bucket_bytes : {std::int64_t{1}, std::int64_t{1500}, std::int64_t{1} << 40}) {
          options.split.coordinators = coordinators;
          options.split.bucket_bytes = bucket_bytes;
          EXPECT_EQ(workers_that_differ(workers, options, expected), 0)
              << workers << " workers, coordinators " << coordinators << ", bucket " << bucket_bytes << ", bf16 "
              << bf16;
        }
      }
    }
  }
}

TEST(DeviceAllReduce, GivesTheBitsOfTheGroupsForEveryCoding) {
  for (const Coding coding : {Coding::kBF16, Coding::kInt8, Coding::kInt4, Coding::kTopK, Coding::kSign}) {
    StepsOptions options{.split = {.shards = 4, .groups = 2, .coding = {coding, 0.05}, .bucket_bytes = 1500},
                         .bf16 = true,
                         .make = on_a_device};
    std::vector<std::uint32_t> expected = expected_steps(options);
    for (const int workers : {1, 2}) {
      EXPECT_EQ(workers_that_differ(workers, options, expected), 0)
          << workers << " workers, " << static_cast<int>(coding);
    }
    options.split.groups = 0;
    expected = expected_steps(options);
    for (const int workers : {3, 4}) {
      EXPECT_EQ(workers_that_differ(workers, options, expected), 0)
          << workers << " workers, " << static_cast<int>(coding);
    }
  }
}

/// The greatest distance of two runs' numbers, as a fraction of the greatest of them.
float distance(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  float greatest = 0.0F;
  float apart = a.size() == b.size() ? 0.0F : INFINITY;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const auto x = std::bit_cast<float>(a[i]);
    greatest = std::max(greatest, std::fabs(x));
    apart = std::max(apart, std::fabs(x - std::bit_cast<float>(b[i])));
  }
  return apart / greatest;
}

TEST_P(DeviceAllReduceOfShards, GivesCloseSumsAndEqualValuesEverywhereWithTheTransportsOwnReduction) {
  const int shards = GetParam();
  for (const bool bf16 : {false, true}) {
    StepsOptions options{.split = {.shards = shards, .native = true}, .bf16 = bf16, .make = on_a_device};
    const std::vector<std::uint32_t> expected = expected_steps(options);
    for (int workers = 1; workers <= std::min(shards, 4); ++workers) {
      for (const int coordinators : {0, 2}) {
        options.split.coordinators = coordinators;
        options.split.bucket_bytes = 1500;
        std::vector<std::vector<std::uint32_t>> runs(static_cast<std::size_t>(workers));
        run_workers(workers, [&](Communicator& world) {
          runs[static_cast<std::size_t>(world.rank())] = training_steps(world, options);
        });
        for (const auto& run : runs) {
          EXPECT_EQ(run, runs.front());
          EXPECT_LT(distance(expected, run), bf16 ? 1e-2F : 1e-5F) << workers << " workers";
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, DeviceAllReduceOfShards, testing::Values(1, 2, 3, 4, 7));

TEST(DeviceAllReduce, SaysWhenItGivesThePromiseUp) {
  run_workers(2, [](Communicator& world) {
    ReferenceBackend backend;
    const auto note = [&](bool native) {
      return on_a_device(world, backend, 32, {{0, 32, DType::kF32}}, false, {.shards = 2, .native = native})->note();
    };
    EXPECT_EQ(note(false), "");
    EXPECT_NE(note(true).find("depend on the number of workers"), std::string::npos);
  });
}

TEST(DeviceAllReduce, ThatFailsInTheMiddleOfAStepLetsTheExceptionOut) {
  const auto fail = [](Communicator& world) {
    ReferenceBackend backend;
    const auto split = on_a_device(world, backend, 64, {{0, 32, DType::kF32}, {32, 64, DType::kF32}}, false,
                                   {.shards = 4, .bucket_bytes = 1});
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
