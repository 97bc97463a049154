#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/optimizer.h"
#include "tests/runtime/data_files.h"

namespace ballast {
namespace {

ScheduleSection named(const std::string& name, std::int64_t warmup) {
  ScheduleSection schedule;
  schedule.name = name;
  schedule.warmup = warmup;
  schedule.every = 10;
  return schedule;
}

TEST(Schedule, EveryOneRisesLinearlyDuringWarmUp) {
  for (const char* name : {"constant", "step", "cosine"}) {
    const ScheduleSection schedule = named(name, 4);
    for (int step = 1; step <= 4; ++step) {
      EXPECT_DOUBLE_EQ(learning_rate(schedule, 0.8, step, 100), 0.2 * step) << name;
    }
  }
}

TEST(Schedule, ConstantStaysWhereTheWarmUpEnds) {
  EXPECT_DOUBLE_EQ(learning_rate(named("constant", 0), 0.3, 1, 100), 0.3);
  EXPECT_DOUBLE_EQ(learning_rate(named("constant", 4), 0.3, 100, 100), 0.3);
}

TEST(Schedule, StepDropsAfterEachSpan) {
  ScheduleSection schedule = named("step", 5);
  schedule.factor = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 6, 100), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 15, 100), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 16, 100), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1.0, 26, 100), 0.25);
}

TEST(Schedule, CosineFallsFromTheFullRateToItsFinalFraction) {
  const ScheduleSection schedule = named("cosine", 20);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 2.0, 20, 100), 2.0);
  EXPECT_NEAR(learning_rate(schedule, 2.0, 40, 100), 2.0 * (0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2), 1e-12);
  EXPECT_NEAR(learning_rate(schedule, 2.0, 60, 100), 2.0 * 0.55, 1e-12);
  EXPECT_NEAR(learning_rate(schedule, 2.0, 100, 100), 0.2, 1e-12);
  EXPECT_NEAR(learning_rate(schedule, 2.0, 130, 100), 0.2, 1e-12);  // a job that was made longer does not rise again
}

TEST(Schedule, CosineBearsAWarmUpLongerThanTheJob) {
  EXPECT_DOUBLE_EQ(learning_rate(named("cosine", 50), 1.0, 10, 10), 0.2);
  EXPECT_NEAR(learning_rate(named("cosine", 50), 1.0, 51, 50), 0.1, 1e-12);
}

TEST(Schedule, NamesTheKnownOnesWhenAskedForAnother) {
  EXPECT_THAT(message_of<ConfigError>([] { (void)learning_rate(named("linear", 0), 1.0, 1, 10); }),
              testing::HasSubstr("\"linear\" is unknown; known: constant, step, cosine"));
}

}  // namespace
}  // namespace ballast
