// What the flight recorder promises: the latest calls can be read at any time, by any process, whatever happens to the
// worker.
#include "comm/flight_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace ballast {
namespace {

using testing::HasSubstr;

class FlightRecorderTest : public testing::Test {
 protected:
  FlightRecorderTest() {
    std::string pattern = testing::TempDir() + "/ballast-flight-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/rank-00003.bin";
  }
  ~FlightRecorderTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] FlightRecorderOptions options() const { return {.path = path_, .job = 7, .rank = 3, .workers = 5}; }

  std::string folder_, path_;
};

FlightRecord call_of(std::int64_t count) { return {.count = count, .call = FlightCall::kAllReduceDisjoint}; }

TEST_F(FlightRecorderTest, SaysWhoTheWorkerIsAndWhatItDoes) {
  FlightRecorder recorder(options());
  EXPECT_EQ(recorder.problem(), "");
  recorder.begin_step(40);
  recorder.enter("a phase with a long name");
  const auto log = read_flight_log(path_, 7, 10);
  ASSERT_TRUE(log);
  EXPECT_EQ(log->header.rank, 3);
  EXPECT_EQ(log->header.workers, 5);
  EXPECT_EQ(log->header.process, getpid());
  EXPECT_EQ(log->header.step, 40);
  EXPECT_STREQ(log->header.phase.data(), "a phase with a ");
  EXPECT_FALSE(log->blocked);
  EXPECT_FALSE(read_flight_log(path_, 8, 10)) << "another start's file";
}

TEST_F(FlightRecorderTest, TellsWhatTheWorkerWaitsForUntilItIsDone) {
  FlightRecorder recorder(options());
  recorder.begin_step(2);
  recorder.allow(6);
  FlightRecord waits = call_of(18);
  recorder.post(waits, true);
  auto log = recorder.log(10);
  ASSERT_TRUE(log && log->blocked);
  EXPECT_EQ(log->blocked->count, 18);
  EXPECT_EQ(log->blocked->patience, 6);
  EXPECT_EQ(log->blocked->done_ns, 0);
  EXPECT_GT(log->blocked->blocked_ns, 0);
  EXPECT_EQ(describe(*log->blocked), "all-reduce of 18 doubles in step 2");
  recorder.end(waits);
  log = recorder.log(10);
  ASSERT_TRUE(log);
  EXPECT_FALSE(log->blocked);
  ASSERT_EQ(log->latest.size(), 1U);
  EXPECT_GE(log->latest.front().done_ns, log->latest.front().blocked_ns);
}

TEST_F(FlightRecorderTest, KeepsTheLatestRecordsWhenTheRingWrapsAround) {
  FlightRecorder recorder(options());
  FlightRecord oldest = call_of(1);
  recorder.post(oldest, false);
  FlightRecord newest;
  for (std::int64_t n = 2; n <= 3 * kFlightRecords / 2; ++n) {
    newest = call_of(n);
    recorder.post(newest, false);
  }
  recorder.end(oldest);  // must not mark the record that has taken its place
  auto log = recorder.log(2 * kFlightRecords);
  ASSERT_TRUE(log);
  ASSERT_EQ(static_cast<std::int64_t>(log->latest.size()), kFlightRecords);
  for (std::size_t i = 0; i < log->latest.size(); ++i) {
    EXPECT_EQ(log->latest[i].count, kFlightRecords / 2 + 1 + static_cast<std::int64_t>(i));
    EXPECT_EQ(log->latest[i].done_ns, 0);
  }
  recorder.block(oldest);  // the ring has lost it: it is recorded anew
  log = recorder.log(1);
  ASSERT_TRUE(log && log->blocked);
  EXPECT_EQ(log->blocked->count, 1);
  EXPECT_EQ(log->latest.front().number, newest.number + 1);
}

TEST_F(FlightRecorderTest, OutlivesAProcessThatIsKilled) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    FlightRecorder recorder(options());
    recorder.enter("backward");
    FlightRecord record = call_of(99);
    recorder.post(record, true);
    std::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto log = read_flight_log(path_, 7, 10);
  ASSERT_TRUE(log && log->blocked);
  EXPECT_EQ(log->blocked->count, 99);
  EXPECT_STREQ(log->blocked->phase.data(), "backward");
}

TEST_F(FlightRecorderTest, WorksWithoutAFileAndSaysWhyThereIsNone) {
  FlightRecorder recorder({.path = folder_ + "/absent/rank-00000.bin", .job = 7});
  EXPECT_THAT(recorder.problem(), HasSubstr("absent/rank-00000.bin: cannot be written: No such file or directory"));
  FlightRecord record = call_of(5);
  recorder.post(record, true);
  const auto log = recorder.log(10);
  ASSERT_TRUE(log && log->blocked);
  EXPECT_EQ(log->blocked->count, 5);
}

TEST_F(FlightRecorderTest, LeavesTheFileOfALiveWorkerAlone) {
  FlightRecorder first(options());
  const FlightRecorder second(options());
  EXPECT_THAT(second.problem(), HasSubstr(path_));
  first.enter("forward");  // would end with SIGBUS in an emptied file
  EXPECT_EQ(first.problem(), "");
}

TEST_F(FlightRecorderTest, ReservesItsSpaceAtTheStart) {
  const FlightRecorder recorder({.path = "/dev/full", .job = 7});  // as a full disk
  EXPECT_NE(recorder.problem(), "");
  EXPECT_TRUE(recorder.log(1));
}

TEST_F(FlightRecorderTest, RefusesFilesThatAreNoLogs) {
  std::FILE* file = std::fopen(path_.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fputs("not a log", file);
  std::fclose(file);
  EXPECT_FALSE(read_flight_log(path_, 0, 10));
  std::filesystem::resize_file(path_, 1 << 20);
  EXPECT_FALSE(read_flight_log(path_, 0, 10));
  EXPECT_FALSE(read_flight_log(folder_ + "/absent", 0, 10));
}

TEST_F(FlightRecorderTest, CanBeReadWhileItIsWritten) {
  FlightRecorder recorder(options());
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      const auto log = recorder.log(kFlightRecords);
      if (!log) continue;
      for (const FlightRecord& record : log->latest) {
        EXPECT_EQ(record.count, static_cast<std::int64_t>(record.number));
      }
    }
  });
  for (std::int64_t n = 1; n <= 200'000; ++n) {
    FlightRecord record = call_of(n);
    recorder.post(record, true);
    recorder.end(record);
  }
  stop = true;
  reader.join();
}

TEST_F(FlightRecorderTest, CountsTheCollectivesOfEveryGroup) {
  FlightRecorder recorder(options());
  const int first = recorder.add_group(11, 4);
  const int second = recorder.add_group(12, 2);
  recorder.enter_collective(first, 5);
  recorder.enter_collective(second, 8);
  recorder.drop_group(first);
  const auto log = recorder.log(0);
  ASSERT_TRUE(log);
  EXPECT_EQ(log->header.group(11), nullptr);
  ASSERT_NE(log->header.group(12), nullptr);
  EXPECT_EQ(log->header.group(12)->entered, 8U);
  for (int i = 0; i < kFlightGroups; ++i) static_cast<void>(recorder.add_group(100, 1));
  EXPECT_EQ(recorder.add_group(101, 1), -1) << "as many as there are places";
  recorder.enter_collective(-1, 1);
}

/// Not a limit but a figure: what docs/failures.md states.
TEST_F(FlightRecorderTest, TakesLittleTimePerRecord) {
  FlightRecorder recorder(options());
  constexpr int kCalls = 1'000'000;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kCalls; ++i) {
    FlightRecord record = call_of(i);
    recorder.post(record, true);
    recorder.end(record);
  }
  const auto end = std::chrono::steady_clock::now();
  const double each = std::chrono::duration<double, std::nano>(end - begin).count() / kCalls;
  std::printf("%.0f ns to record a call\n", each);
  RecordProperty("nanoseconds_per_record", static_cast<int>(each));
  EXPECT_LT(each, 10'000.0);
}

TEST(RankList, NamesRanksAsPeopleDo) {
  EXPECT_EQ(rank_list({1}), "rank 1");
  EXPECT_EQ(rank_list({0, 2}), "ranks 0 and 2");
  EXPECT_EQ(rank_list({0, 1, 3}), "ranks 0, 1 and 3");
  EXPECT_EQ(rank_list({0, 1, 2, 3, 7, 9, 10, 11}), "ranks 0-3, 7 and 9-11");
}

}  // namespace
}  // namespace ballast
