#include "launcher/plan/simulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compute/error.h"

namespace ballast {
namespace {

using testing::ElementsAre;

Task on(Resource resource, double seconds, std::vector<int> after = {}, double delay = 0.0) {
  return {.resource = resource, .seconds = seconds, .after = std::move(after), .delay = delay};
}

Task work(double seconds, std::vector<int> after = {}) { return on(Resource::kWorker, seconds, std::move(after)); }

TEST(Simulation, OneResourceServesOneTaskAtATime) {
  const Timeline timeline = simulate({work(2), work(3)});
  EXPECT_DOUBLE_EQ(timeline.tasks[0].begin, 0);
  EXPECT_DOUBLE_EQ(timeline.tasks[1].begin, 2);
  EXPECT_DOUBLE_EQ(timeline.tasks[1].end, 5);
  EXPECT_EQ(timeline.tasks[1].cause, 0);
}

TEST(Simulation, ResourcesWorkBesideEachOther) {
  const Timeline timeline = simulate({work(2), on(Resource::kLinkOut, 3), on(Resource::kLinkIn, 4)});
  for (const TimedTask& task : timeline.tasks) EXPECT_DOUBLE_EQ(task.begin, 0);
}

TEST(Simulation, ATaskWaitsForAllItNeedsAndForTheWayBetween) {
  const Timeline timeline = simulate({work(1), on(Resource::kLinkOut, 4), on(Resource::kLinkIn, 1, {0, 1}, 0.5)});
  EXPECT_DOUBLE_EQ(timeline.tasks[2].begin, 4.5);
  EXPECT_EQ(timeline.tasks[2].cause, 1);
}

TEST(Simulation, WhoeverIsReadyFirstIsServedFirst) {
  // Task 2 is written down first, but ready only at 1; task 1 keeps the worker until 5.
  const Timeline timeline = simulate({on(Resource::kLinkOut, 1), work(5), work(1, {0}), work(1)});
  EXPECT_DOUBLE_EQ(timeline.tasks[3].begin, 5) << "ready since 0";
  EXPECT_DOUBLE_EQ(timeline.tasks[2].begin, 6) << "ready since 1";
}

TEST(Simulation, UrgentTasksOvertake) {
  Task urgent = on(Resource::kLinkOut, 1, {0});
  urgent.urgent = true;
  const Timeline timeline = simulate({work(1), on(Resource::kLinkOut, 2), on(Resource::kLinkOut, 2), urgent});
  EXPECT_DOUBLE_EQ(timeline.tasks[3].begin, 2) << "before task 2, not before what is under way";
  EXPECT_DOUBLE_EQ(timeline.tasks[2].begin, 3);
}

TEST(Simulation, TasksReadyTogetherAreServedInTheirOrder) {
  const Timeline timeline = simulate({work(1), on(Resource::kLinkOut, 1, {0}), on(Resource::kLinkOut, 1, {0})});
  EXPECT_DOUBLE_EQ(timeline.tasks[1].begin, 1);
  EXPECT_DOUBLE_EQ(timeline.tasks[2].begin, 2);
}

TEST(Simulation, TasksWithoutLengthTakeNoTime) {
  const Timeline timeline = simulate({work(0), work(0, {0}), work(1, {1})});
  EXPECT_DOUBLE_EQ(timeline.tasks[2].end, 1);
}

TEST(Simulation, TheCriticalPathNamesWhatMadeTheLastTaskLate) {
  const Timeline timeline = simulate(
      {work(1), on(Resource::kLinkOut, 5, {0}), work(2, {0}), on(Resource::kLinkOut, 1, {2}), work(1, {2, 3})});
  EXPECT_THAT(timeline.critical_path(4), ElementsAre(0, 1, 3, 4)) << "task 3 waited for the link, not for task 2";
  EXPECT_DOUBLE_EQ(timeline.tasks[4].end, 8);
}

TEST(Simulation, RefusesATaskThatWaitsForALaterOne) { EXPECT_THROW((void)simulate({work(1, {1}), work(1)}), Error); }

}  // namespace
}  // namespace ballast
