#include "launcher/launch/outcome.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "compute/error.h"
#include "launcher/launch/restart_budget.h"

namespace ballast {
namespace {

using testing::HasSubstr;

Verdict verdict_of(ExitCode code) { return ballast::verdict_of(static_cast<int>(code)); }

TEST(Outcome, OnlyWhatMayGoBetterIsTriedAgain) {
  EXPECT_EQ(verdict_of(ExitCode::kOk), Verdict::kDone);
  EXPECT_EQ(verdict_of(ExitCode::kStopped), Verdict::kStopped);
  for (const ExitCode code : {ExitCode::kUsage, ExitCode::kData, ExitCode::kVersion, ExitCode::kConfig}) {
    EXPECT_EQ(verdict_of(code), Verdict::kFinal) << static_cast<int>(code);
  }
  for (const ExitCode code :
       {ExitCode::kInternal, ExitCode::kBusy, ExitCode::kIo, ExitCode::kDesync, ExitCode::kHang}) {
    EXPECT_EQ(verdict_of(code), Verdict::kAgain) << static_cast<int>(code);
  }
  for (const int code : {1, 134, 137, 139, 143, 205}) EXPECT_EQ(ballast::verdict_of(code), Verdict::kAgain) << code;
}

TEST(Outcome, CodesAreExplained) {
  EXPECT_EQ(code_text(137), "signal 9 (Killed)");
  EXPECT_EQ(code_text(65), "exit code 65, damaged data or checkpoint");
  EXPECT_EQ(code_text(1), "exit code 1");
  EXPECT_EQ(code_text(255), "exit code 255");
}

TEST(Outcome, TheDocumentationShowsTheTable) {
  std::ifstream file("docs/launching.md");
  std::ostringstream text;
  text << file.rdbuf();
  for (const Outcome& outcome : outcomes()) {
    EXPECT_THAT(text.str(), HasSubstr("| " + std::to_string(outcome.code) + " | " + outcome.meaning + " |"));
  }
}

TEST(RestartBudget, IsRefilledByProgress) {
  RestartBudget budget(2);
  EXPECT_TRUE(budget.spend());
  EXPECT_TRUE(budget.spend());
  EXPECT_FALSE(budget.spend());
  budget.progressed();
  EXPECT_TRUE(budget.spend());
  EXPECT_EQ(budget.used(), 1);
  EXPECT_FALSE(RestartBudget(0).spend());
}

TEST(RestartBudget, PausesGrowAndAreBounded) {
  EXPECT_EQ(pause_before(1), 0.0);
  EXPECT_EQ(pause_before(2), 1.0);
  EXPECT_EQ(pause_before(5), 8.0);
  EXPECT_EQ(pause_before(1000), 60.0);
}

}  // namespace
}  // namespace ballast
