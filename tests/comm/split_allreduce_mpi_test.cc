#include <gtest/gtest.h>

#include "comm/split_allreduce.h"
#include "tests/comm/training_steps.h"
#include "tests/support/mpi_world.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

TEST(SplitAllReduceOverMpi, GivesTheBitsOfThreadsAndOfTheTree) {
  Communicator& world = mpi_world();
  for (const int shards : {world.size(), 4, 7}) {
    for (const bool bf16 : {false, true}) {
      StepsOptions options{.split = {.shards = shards}, .bf16 = bf16};
      const std::vector<std::uint32_t> expected = expected_steps(options);
      run_workers(1, [&](Communicator& alone) { EXPECT_EQ(training_steps(alone, options), expected); });
      for (const bool share_memory : {true, false}) {
        for (const int coordinators : {0, 1, 2}) {
          for (const std::int64_t bucket_bytes : {1, 1500, 1 << 30}) {
            options.split.share_memory = share_memory;
            options.split.coordinators = coordinators;
            options.split.bucket_bytes = bucket_bytes;
            EXPECT_TRUE(training_steps(world, options) == expected)
                << shards << " shards, shared " << share_memory << ", coordinators " << coordinators << ", bucket "
                << bucket_bytes;
          }
        }
      }
    }
  }
}

TEST(SplitAllReduceOverMpi, SendsSlicesLargerThanAnEagerMessage) {
  // Rendezvous messages and their progress inside gradients_ready(): the test above has eager ones only.
  Communicator& world = mpi_world();
  const StepsOptions options{
      .split = {.shards = 4, .bucket_bytes = 1 << 20, .share_memory = false}, .steps = 2, .scale = 300};
  EXPECT_TRUE(training_steps(world, options) == expected_steps(options));
}

}  // namespace
}  // namespace ballast
