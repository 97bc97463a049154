// Real workers under mpirun, one of which goes astray in step 3: the job ends soon, with the right exit code and a line
// that names the worker, the call and the step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/support/mpirun.h"

namespace ballast {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr double kSecondsToEnd = 10.0;  ///< of a job of a few steps that a disagreement ends
constexpr double kLimit = 2.0;          ///< watch.timeout

class DisagreementTest : public testing::Test {
 protected:
  DisagreementTest() {
    std::string pattern = testing::TempDir() + "/ballast-disagreement-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~DisagreementTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] Outcome run(const std::string& way) const {
    return run_command(std::string(DISAGREEING_JOB) + " " + way + " " + std::to_string(kLimit) + " " + folder_, 3);
  }
  void expect_named(const std::string& way, const std::string& call) const {
    const Outcome outcome = run(way);
    EXPECT_EQ(outcome.exit_code, 76) << way << ": " << outcome.output;
    EXPECT_THAT(outcome.output, AllOf(HasSubstr("the workers disagree: rank 2 calls " + call),
                                      HasSubstr("while ranks 0 and 1 call all-reduce of"), HasSubstr("in step 3")))
        << way;
    EXPECT_LT(outcome.seconds, kSecondsToEnd) << way;
    EXPECT_EQ(outcome.output.find("ballast:"), outcome.output.rfind("ballast:")) << "said once: " << outcome.output;
  }

  std::string folder_;
};

TEST_F(DisagreementTest, WorkersThatAgreeFinishInSilence) {
  const Outcome outcome = run("agrees");
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(outcome.output, "");
}

TEST_F(DisagreementTest, ASkippedCollective) { expect_named("skips", "barrier in step 3"); }
TEST_F(DisagreementTest, ASmallerCollective) { expect_named("smaller", "all-reduce of"); }
TEST_F(DisagreementTest, ALargerCollective) { expect_named("larger", "all-reduce of"); }
TEST_F(DisagreementTest, ACollectiveOfAnotherType) { expect_named("other-type", "all-reduce of 1 integer (sum)"); }
TEST_F(DisagreementTest, AnotherCollective) { expect_named("other-call", "broadcast of 8 bytes from rank 0"); }
TEST_F(DisagreementTest, CollectivesInAnotherOrder) { expect_named("reorders", "broadcast of 8 bytes from rank 0"); }

TEST_F(DisagreementTest, AFlippedBitInTheWeightsOfOneWorker) {
  const Outcome outcome = run("flips");
  EXPECT_EQ(outcome.exit_code, 76) << outcome.output;
  EXPECT_THAT(
      outcome.output,
      AllOf(HasSubstr("step 3: the workers disagree about the weights: rank 2 and ranks 0 and 1 hold different"),
            HasSubstr("(elements 0 to "), HasSubstr("the former are the odd ones")));
  EXPECT_LT(outcome.seconds, kSecondsToEnd);
}

// Without shared memory the next thing that the worker waits for is a message, which nobody compares.
TEST_F(DisagreementTest, ASkippedCollectiveBeforeAMessage) {
  const Outcome outcome = run("skips-apart");
  EXPECT_EQ(outcome.exit_code, 76) << outcome.output;
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("the workers wait for each other: "), HasSubstr("ranks 0 and 1 in all-reduce"),
                    HasSubstr("rank 2 in message of"), HasSubstr("in step 3")));
  EXPECT_LT(outcome.seconds, kLimit + kSecondsToEnd);
}

TEST_F(DisagreementTest, AWorkerThatDoesNotComeIsNoDisagreement) {
  const Outcome outcome = run("sleeps");
  EXPECT_EQ(outcome.exit_code, 79) << outcome.output;
  EXPECT_THAT(outcome.output,
              AllOf(HasSubstr("rank 2 on"), HasSubstr("has not entered the all-reduce of"), HasSubstr("in step 3"),
                    HasSubstr("ranks 0 and 1 wait for it"), Not(HasSubstr("stopped, by SIGSTOP"))));
  EXPECT_LT(outcome.seconds, kLimit + kSecondsToEnd);
}

}  // namespace
}  // namespace ballast
