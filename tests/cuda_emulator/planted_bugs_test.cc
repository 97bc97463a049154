// Right programs pass with every seed; each planted bug is caught with every seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

#include "tests/cuda_emulator/run_scenario.h"

namespace cuda_emulator {
namespace {

constexpr int kSeeds = 20;
constexpr bool kThreadSanitizer = std::string_view(SANITIZERS) == "thread";

class RightProgram : public testing::TestWithParam<const char*> {};

TEST_P(RightProgram, PassesWithEverySeed) {
  for (const Outcome& outcome : run_with_seeds(SCENARIO, GetParam(), kSeeds)) {
    EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
    EXPECT_EQ(outcome.text, "");
  }
}

INSTANTIATE_TEST_SUITE_P(CudaEmulator, RightProgram,
                         testing::Values("block_sums", "warp_sum", "reverse", "add_neighbours",
                                         "both_kinds_of_shared_memory", "asynchronous_copies", "add_one", "count",
                                         "sum_by_last_block", "refused_launch", "pipeline", "download",
                                         "repeated_download", "upload", "graph", "updated_graph", "copies_in_graph",
                                         "another_topology", "spoiled_captures", "unjoined_capture"),
                         [](const auto& test) { return std::string(test.param); });

struct Bug {
  const char* scenario;
  const char* message;            // a regular expression
  bool thread_sanitizer = false;  // only it can see the bug
};

class PlantedBug : public testing::TestWithParam<Bug> {};

TEST_P(PlantedBug, IsCaughtWithEverySeed) {
  if (GetParam().thread_sanitizer && !kThreadSanitizer) GTEST_SKIP() << "blocks run one by one: only TSan sees it";
  for (const Outcome& outcome : run_with_seeds(SCENARIO, GetParam().scenario, kSeeds)) {
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_THAT(outcome.text, testing::ContainsRegex(GetParam().message));
  }
}

constexpr const char* kOrder = "wrong result|ThreadSanitizer: data race";
constexpr const char* kRace = "ThreadSanitizer: data race";
constexpr const char* kPastTheEnd = "cuda_emulator: .*, 0 bytes past the end of 2048 bytes";

INSTANTIATE_TEST_SUITE_P(
    CudaEmulator, PlantedBug,
    testing::Values(Bug{"missing_barrier_before_read", kOrder}, Bug{"missing_barrier_before_next_write", kOrder},
                    Bug{"wrong_shuffle_mask", "mask 0000ffff, which does not name|which does not take part"},
                    Bug{"shuffle_in_branch", "which does not take part|wait for ever"},
                    Bug{"divergent_barrier", "divergent __syncthreads"}, Bug{"deadlock", "wait for ever"},
                    Bug{"write_past_shared_memory", "shared memory is written|AddressSanitizer: heap-buffer-overflow"},
                    Bug{"too_much_shared_memory", "49284 with the dynamic; the limit is 49152"},
                    Bug{"unwritten_shared_memory", "wrong result"}, Bug{"asynchronous_copies_not_waited_for", kOrder},
                    Bug{"read_past_the_end", kPastTheEnd}, Bug{"write_past_the_end", kPastTheEnd},
                    Bug{"read_of_freed_memory", "is freed memory"},
                    Bug{"read_of_freed_memory_behind_a_structure", "access to freed memory"},
                    Bug{"host_reads_device_memory", "host code touches device memory"},
                    Bug{"kernel_gets_host_memory", "neither device nor pinned memory"},
                    Bug{"copy_past_the_end", "run 4 bytes past the end"}, Bug{"race_between_blocks", kRace, true},
                    Bug{"missing_fence", kRace, true}, Bug{"missing_event_before_read", kOrder},
                    Bug{"missing_event_before_overwrite", kOrder}, Bug{"pinned_buffer_read_too_early", kOrder},
                    Bug{"pinned_buffer_overwritten_too_early", kOrder}, Bug{"missing_event_in_graph", kOrder},
                    Bug{"missing_fork_in_graph", "dependency created on uncaptured work"},
                    Bug{"missing_join_in_graph", "unjoined work"}, Bug{"stale_graph", "wrong result"},
                    Bug{"graph_of_freed_memory", "access to freed memory"}, Bug{"graph_result_read_too_early", kOrder},
                    Bug{"graph_source_overwritten_too_early", kOrder},
                    Bug{"graph_destroyed_while_it_runs", "a launch of the graph is still under way"},
                    Bug{"allocation_in_capture", "not permitted when stream is capturing"}),
    [](const auto& test) { return std::string(test.param.scenario); });

TEST(CudaEmulator, NamesTheKernelsBlockAndThread) {
  const Outcome outcome = run_with_seeds(SCENARIO, "read_past_the_end", 1).front();
  EXPECT_THAT(outcome.text, testing::HasSubstr("block (8,0,0), thread (0,0,0)"));
}

TEST(CudaEmulator, SaysThatThereIsNoDevice) {
  EXPECT_EQ(finish(start("CUDA_EMULATOR_DEVICES=0 " SCENARIO " no_device")).exit_code, 0);
  EXPECT_EQ(finish(start(SCENARIO " no_device")).exit_code, 1);
}

}  // namespace
}  // namespace cuda_emulator
