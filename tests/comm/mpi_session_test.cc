// Starts failing_job under mpirun and looks at what a user would see: the text, the exit code, and how long it took.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>

#include "tests/support/mpirun.h"

namespace ballast {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;

Outcome run_job(const std::string& way, int workers) {
  return run_command(std::string(FAILING_JOB) + " " + way, workers);
}

int times(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

constexpr double kSecondsToEnd = 10.0;

TEST(MpiSession, EndsEveryWorkerWithTheMessageAndExitCodeOfTheOneThatFailed) {
  const Outcome outcome = run_job("one-throws", 3);
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_THAT(outcome.output, ContainsRegex("^ballast: \\[rank 2 on [^]]+\\] optimizer\\.lr = -1: must be positive"));
  EXPECT_EQ(times(outcome.output, "ballast:"), 1) << outcome.output;
  EXPECT_LT(outcome.seconds, kSecondsToEnd);
}

TEST(MpiSession, PrintsAnErrorOfAllWorkersOnceFromRank0) {
  const Outcome outcome = run_job("all-throw", 4);
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_EQ(times(outcome.output, "must be positive"), 1) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("[rank 0 on"));
  EXPECT_LT(outcome.seconds, kSecondsToEnd);
}

TEST(MpiSession, KeepsMpisPageOfTextAwayFromTheMessage) {
  const Outcome outcome = run_job("one-throws", 2);
  EXPECT_THAT(outcome.output, Not(HasSubstr("MPI_ABORT")));
  EXPECT_LE(times(outcome.output, "\n"), 2) << outcome.output;
}

TEST(MpiSession, ReportsForeignExceptionsAsInternal) {
  const Outcome outcome = run_job("foreign-exception", 2);
  EXPECT_EQ(outcome.exit_code, 70) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("vector too long"));
}

TEST(MpiSession, EndsTheJobWhenAnExceptionLeavesItsScope) {
  const Outcome outcome = run_job("unwinds", 3);
  EXPECT_EQ(outcome.exit_code, 70) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("[rank 2 on"));
  EXPECT_THAT(outcome.output, Not(HasSubstr("not reached")));
  EXPECT_LT(outcome.seconds, kSecondsToEnd);
}

TEST(MpiSession, EndsTheJobWhenAThreadThrows) {
  const Outcome outcome = run_job("thread-throws", 3);
  EXPECT_EQ(outcome.exit_code, 70) << outcome.output;
  EXPECT_THAT(outcome.output, ContainsRegex("rank 2 on .*a thread failed"));
  EXPECT_LT(outcome.seconds, kSecondsToEnd);
}

TEST(MpiSession, EndsTheJobWhenAWorkerFailsWithMessagesUnderWay) {
  for (const char* way : {"step-fails", "shared-step-fails"}) {
    const Outcome outcome = run_job(way, 3);
    EXPECT_EQ(outcome.exit_code, 65) << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr("record 17 is damaged"));
    EXPECT_LT(outcome.seconds, kSecondsToEnd) << way;
  }
}

TEST(MpiSession, WorksWithoutMpirun) {
  EXPECT_EQ(run_job("succeeds", 0).exit_code, 0);
  const Outcome outcome = run_job("one-throws", 0);
  EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
  EXPECT_EQ(times(outcome.output, "must be positive"), 1) << outcome.output;
}

TEST(MpiSession, SucceedsSilently) {
  const Outcome outcome = run_job("succeeds", 3);
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.output, "");
}

/// Names in /dev/shm that belong to the job, or to Ballast.
std::string left_behind(const std::string& job_id) {
  std::ostringstream hex;
  hex << std::hex << std::strtoull(job_id.c_str(), nullptr, 10);
  std::string names;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    const std::string name = entry.path().filename();
    const bool of_job = hex.str() != "0" && name.find(hex.str()) != std::string::npos;
    if (of_job || name.find("ballast") != std::string::npos) names += name + " ";
  }
  return names;
}

TEST(MpiSession, LeavesNothingInSharedMemoryWhenAWorkerIsKilled) {
  const Outcome outcome = run_job("killed", 3);
  EXPECT_EQ(outcome.exit_code, 137) << outcome.output;
  EXPECT_LT(outcome.seconds, kSecondsToEnd);
  const auto at = outcome.output.find("job id ");
  ASSERT_NE(at, std::string::npos) << outcome.output;
  const std::string job_id = outcome.output.substr(at + 7, outcome.output.find('\n', at) - at - 7);
  const auto until = Clock::now() + std::chrono::seconds(10);  // mpirun returns before the other workers are gone
  while (!left_behind(job_id).empty() && Clock::now() < until)
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(left_behind(job_id), "");
}

}  // namespace
}  // namespace ballast
