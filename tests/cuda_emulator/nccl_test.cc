// NCCL between two and three ranks: right programs pass, planted mistakes are caught.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/cuda_emulator/run_scenario.h"

namespace cuda_emulator {
namespace {

constexpr int kSeeds = 3;  // each starts mpirun

Outcome run(const std::string& scenario, int ranks, int seed) {
  return finish(start("TSAN_OPTIONS=halt_on_error=1 CUDA_EMULATOR_SEED=" + std::to_string(seed) + " " MPIEXEC " -n " +
                      std::to_string(ranks) + " " NCCL_SCENARIO " " + scenario));
}

class RightProgram : public testing::TestWithParam<const char*> {};

TEST_P(RightProgram, PassesOnAnyNumberOfRanks) {
  for (int ranks = 1; ranks <= 3; ++ranks) {
    for (int seed = 1; seed <= kSeeds; ++seed) {
      const Outcome outcome = run(GetParam(), ranks, seed);
      EXPECT_EQ(outcome.exit_code, 0) << ranks << " ranks, seed " << seed << ": " << outcome.text;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Nccl, RightProgram, testing::Values("training_loop", "messages", "scatter_gather"),
                         [](const auto& test) { return std::string(test.param); });

struct Mistake {
  const char* scenario;
  const char* message;  // a regular expression
};
class PlantedMistake : public testing::TestWithParam<Mistake> {};

TEST_P(PlantedMistake, IsCaughtWithEverySeed) {
  for (int seed = 1; seed <= kSeeds; ++seed) {
    const Outcome outcome = run(GetParam().scenario, 2, seed);
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_THAT(outcome.text, testing::ContainsRegex(GetParam().message));
  }
}

INSTANTIATE_TEST_SUITE_P(Nccl, PlantedMistake,
                         testing::Values(Mistake{"sum_does_not_wait_for_gradient", "wrong result|data race"},
                                         Mistake{"update_does_not_wait_for_sum", "wrong result|data race"},
                                         Mistake{"message_too_short",
                                                 "expects 128 bytes of type 7 from rank 1, which sent 124 bytes"},
                                         Mistake{"other_count", "ncclAllReduce: the ranks disagree"},
                                         Mistake{"other_order", "the ranks disagree"}),
                         [](const auto& test) { return std::string(test.param.scenario); });

}  // namespace
}  // namespace cuda_emulator
