// Watchdogs of threads as workers: what they say, when, and when they keep silent.
#include "runtime/supervision/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <thread>

#include "comm/watched_communicator.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr double kLimit = 0.6;  // seconds
constexpr double kLook = 0.5;   // between looks for stragglers

class WatchdogTest : public testing::Test {
 protected:
  WatchdogTest() {
    std::string pattern = testing::TempDir() + "/ballast-watchdog-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~WatchdogTest() override { std::filesystem::remove_all(folder_); }

  /// Workers with recorders and watchdogs. `body` gets the watched world.
  void run(int workers, const std::function<void(Communicator& world, FlightRecorder& recorder)>& body,
           bool with_folder = true) {
    run_workers(workers, [&](Communicator& plain) {
      const std::string folder = with_folder ? folder_ : "";
      FlightRecorder recorder({.path = with_folder ? flight_file(folder_, plain.rank()) : "",
                               .rank = plain.rank(),
                               .workers = plain.size()});
      WatchedCommunicator world(plain, recorder, true);
      plain.barrier();
      const Watchdog watchdog(recorder, {.timeout_seconds = kLimit,
                                         .folder = folder,
                                         .rank = plain.rank(),
                                         .workers = plain.size(),
                                         .straggler_seconds = kLook,
                                         .warn = [this](const std::string& text) { note_warning(text); },
                                         .end = [this](const Error& error) { note(error); }});
      body(world, recorder);
      plain.barrier();
    });
  }

  void note(const Error& error) {
    const std::lock_guard lock(mutex_);
    errors_.push_back(error);
  }
  void note_warning(const std::string& text) {
    const std::lock_guard lock(mutex_);
    warnings_.push_back(text);
  }
  [[nodiscard]] std::vector<std::string> warnings() {
    const std::lock_guard lock(mutex_);
    return warnings_;
  }
  [[nodiscard]] std::vector<Error> errors() {
    const std::lock_guard lock(mutex_);
    return errors_;
  }
  void wait_for_an_error(double seconds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (errors().empty() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(milliseconds(10));
  }

  std::string folder_;

 private:
  std::mutex mutex_;
  std::vector<Error> errors_;
  std::vector<std::string> warnings_;
};

TEST_F(WatchdogTest, NamesTheWorkerThatDoesNotComeWithinSeconds) {
  run(3, [&](Communicator& world, FlightRecorder& recorder) {
    recorder.begin_step(7);
    if (world.rank() == 1) {
      recorder.enter("data");
      wait_for_an_error(10);
    }
    world.barrier();
  });
  ASSERT_THAT(errors(), SizeIs(testing::Ge(1U)));
  EXPECT_THAT(warnings(), testing::Contains(AllOf(HasSubstr("rank 1 on"), HasSubstr("the job ends when"))));
  EXPECT_EQ(errors().front().code(), ExitCode::kHang);
  EXPECT_THAT(errors().front().what(),
              AllOf(HasSubstr("no progress for"), HasSubstr("rank 1 on"), HasSubstr("in phase data of step 7"),
                    HasSubstr("has not entered the barrier in step 7"), HasSubstr("ranks 0 and 2 wait for it")));
  for (const char* name :
       {"/hang-1.txt", "/hang-1-rank-00000.txt", "/hang-1-rank-00001.txt", "/hang-1-rank-00002.txt"}) {
    EXPECT_GT(std::filesystem::file_size(folder_ + name), 0U) << name;
  }
  std::ifstream report(folder_ + "/hang-1-rank-00000.txt");
  const std::string text{std::istreambuf_iterator<char>(report), {}};
  EXPECT_THAT(text,
              AllOf(HasSubstr("thread "), HasSubstr("VmRSS"), HasSubstr("barrier in step 7"), HasSubstr("not done")));
}

TEST_F(WatchdogTest, SpeaksForItselfWhereThereIsNoFolder) {
  run(
      2,
      [&](Communicator& world, FlightRecorder&) {
        if (world.rank() == 1) wait_for_an_error(10);
        world.barrier();
      },
      false);
  ASSERT_THAT(errors(), SizeIs(testing::Ge(1U)));
  EXPECT_EQ(errors().front().code(), ExitCode::kHang);
  EXPECT_THAT(errors().front().what(), AllOf(HasSubstr("s in barrier before the first step (number 1 of its group)"),
                                             HasSubstr("there is no run folder")));
}

TEST_F(WatchdogTest, EndsTheJobEvenIfTheFolderHasGone) {
  run(2, [&](Communicator& world, FlightRecorder&) {
    if (world.rank() == 1) {
      std::filesystem::remove_all(folder_);
      wait_for_an_error(10);
    }
    world.barrier();
  });
  ASSERT_THAT(errors(), SizeIs(testing::Ge(1U)));
  EXPECT_THAT(errors().front().what(), HasSubstr("the run folder cannot be written"));
}

TEST_F(WatchdogTest, LetsAJobGoOnWhoseWorkerComesWhileTheOthersReport) {
  const auto begin = std::chrono::steady_clock::now();
  run(2, [&](Communicator& world, FlightRecorder&) {
    if (world.rank() == 1) {
      while (!std::filesystem::exists(folder_ + "/hang-1.txt")) {
        std::this_thread::sleep_for(milliseconds(1));
        if (std::chrono::steady_clock::now() - begin > std::chrono::seconds(10)) break;
      }
    }
    world.barrier();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::filesystem::exists(folder_ + "/hang-1.txt") && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(milliseconds(10));
    }
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/hang-1.txt"));
  });
  EXPECT_THAT(errors(), IsEmpty());
}

TEST_F(WatchdogTest, IsPatientInSlowPhases) {
  run(2, [&](Communicator& world, FlightRecorder& recorder) {
    const SlowPhase slow(recorder, "save", 6);
    if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::duration<double>(2.5 * kLimit));
    world.barrier();
  });
  EXPECT_THAT(errors(), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/hang-1.txt"));
}

TEST_F(WatchdogTest, WarnsOnceOfAWorkerThatKeepsTheOthersWaiting) {
  run(3, [&](Communicator& world, FlightRecorder& recorder) {
    for (int step = 1; step <= 150; ++step) {
      recorder.begin_step(step);
      std::this_thread::sleep_for(milliseconds(world.rank() == 2 ? 20 : 1));
      world.barrier();
    }
  });
  EXPECT_THAT(errors(), IsEmpty());
  ASSERT_THAT(warnings(), SizeIs(1));
  EXPECT_THAT(warnings().front(),
              testing::ContainsRegex("rank 2 on .* was slower than the others: it waited [0-9] % of "
                                     "the time, the others ([6-9][0-9]|100) %"));
}

TEST(Stragglers, AreApartFromTheOthersAndCostThemHalfOfTheTime) {
  EXPECT_EQ(straggler_among({0.8, 0.05, 0.8, 0.75}), 1);
  EXPECT_EQ(straggler_among({0.8, 0.0}), 1);
  EXPECT_EQ(straggler_among({0.2, 0.1, 0.3}), -1) << "as it should be";
  EXPECT_EQ(straggler_among({0.4, 0.0, 0.4}), -1) << "less than half";
  EXPECT_EQ(straggler_among({0.8, 0.1, 0.8, 0.1}), -1) << "two halves of the machine";
  EXPECT_EQ(straggler_among({0.9}), -1);
}

TEST_F(WatchdogTest, RaisesNoFalseAlarmWhenWorkersTakeTheirTime) {
  run(4, [&](Communicator& world, FlightRecorder& recorder) {
    std::mt19937 random(static_cast<unsigned>(world.rank()));
    std::uniform_int_distribution<int> pause(0, static_cast<int>(500 * kLimit));
    for (int step = 1; step <= 25; ++step) {
      recorder.begin_step(step);
      std::this_thread::sleep_for(milliseconds(random() % 4 == 0 ? pause(random) : 1));
      world.barrier();
    }
  });
  EXPECT_THAT(errors(), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/hang-1.txt"));
}

}  // namespace
}  // namespace ballast
