// CheckpointWriter behind training: background, order of results, retention, pins, the lock, and misuse.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "checkpoints/checkpoint.h"
#include "compute/error.h"
#include "tests/checkpoints/example_job.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

using std::chrono::milliseconds;

class Writer : public testing::Test {
 protected:
  // One worker with a writer.
  void alone(int keep, const std::function<void(CheckpointWriter&, Communicator&)>& body) {
    run_workers(1, [&](Communicator& group) {
      CheckpointWriter writer(real_file_system(), group, {.directory = place_.path(), .keep = keep});
      body(writer, group);
    });
  }
  [[nodiscard]] std::vector<std::int64_t> steps() const { return list_checkpoints(real_file_system(), place_.path()); }

  TemporaryDirectory place_{Storage::kMemory};
  ExampleJob job_ = ExampleJob::small();
};

TEST_F(Writer, WritesBehindTrainingOnSlowStorageAndTellsEveryWorkerAtTheSameStep) {
  FaultyFileSystem slow(place_.path());
  std::atomic<int> told_at[3] = {-1, -1, -1};
  run_workers(3, [&](Communicator& group) {
    CheckpointWriter writer(slow, group, {.directory = place_.path()});
    group.barrier();
    if (group.rank() == 0) slow.delay_each(milliseconds(5));
    group.barrier();
    EXPECT_FALSE(writer.poll().has_value());
    const auto begin = std::chrono::steady_clock::now();
    job_.start(writer, group, 1);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(100));
    for (int step = 0; step < 1000; ++step) {
      if (const auto result = writer.poll()) {
        EXPECT_TRUE(result->ok) << result->message;
        EXPECT_GE(result->seconds, 0.1);
        told_at[group.rank()] = step;
        break;
      }
      std::this_thread::sleep_for(milliseconds(2));
    }
    EXPECT_FALSE(writer.poll().has_value());
    EXPECT_FALSE(writer.finish().has_value());
  });
  EXPECT_GT(told_at[0], 5);
  EXPECT_EQ(told_at[0], told_at[1]);
  EXPECT_EQ(told_at[0], told_at[2]);
}

TEST_F(Writer, CountsItsWorkAndNotTheStepsUntilItIsAskedAgain) {
  alone(3, [&](CheckpointWriter& writer, Communicator& group) {
    const auto begin = std::chrono::steady_clock::now();
    job_.start(writer, group, 1);
    std::optional<SaveResult> result;
    do {
      std::this_thread::sleep_for(milliseconds(200));
      result = writer.poll();
    } while (!result);
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(all.count(), 0.4);
    EXPECT_LT(result->seconds + result->stall_seconds, all.count());
  });
}

TEST_F(Writer, TheSnapshotIsOfTheMomentOfStart) {
  FaultyFileSystem slow(place_.path());
  run_workers(1, [&](Communicator& group) {
    CheckpointWriter writer(slow, group, {.directory = place_.path()});
    slow.delay_each(milliseconds(2));
    std::vector<float> values(10, 1.0F);
    const ConstTensorPiece piece{0, 0, device_span(values)};
    writer.start({{"a", {10}}}, {&piece, 1}, ExampleJob::state(1), host_backend());
    std::fill(values.begin(), values.end(), 2.0F);
    const auto result = writer.finish();
    EXPECT_TRUE(result->ok);
    EXPECT_GT(result->seconds, 0.0);
    EXPECT_GT(result->stall_seconds, 0.5 * result->seconds) << "finish() waits for most of the work";
  });
  std::vector<float> back(10);
  const HostPiece piece{0, 0, back};
  Checkpoint::open(real_file_system(), place_.path() + "/" + checkpoint_name(1)).read({&piece, 1});
  EXPECT_THAT(back, testing::Each(1.0F));
}

TEST_F(Writer, WithoutACopyReadsThePiecesUntilTheyMayChange) {
  FaultyFileSystem slow(place_.path());
  run_workers(2, [&](Communicator& group) {
    CheckpointWriter writer(slow, group, {.directory = place_.path(), .copy = false});
    group.barrier();
    if (group.rank() == 0) slow.delay_each(milliseconds(2));
    group.barrier();
    std::vector<float> values(10, static_cast<float>(group.rank()));
    const ConstTensorPiece piece{0, 10 * group.rank(), device_span(values)};
    writer.start({{"a", {20}}}, {&piece, 1}, ExampleJob::state(1), host_backend());
    std::this_thread::sleep_for(milliseconds(1));
    writer.wait_for_reads();
    std::fill(values.begin(), values.end(), 2.0F);
    EXPECT_TRUE(writer.finish()->ok);
  });
  std::vector<float> back(20);
  const HostPiece piece{0, 0, back};
  Checkpoint::open(real_file_system(), place_.path() + "/" + checkpoint_name(1)).read({&piece, 1});
  EXPECT_THAT(std::span(back).first(10), testing::Each(0.0F));
  EXPECT_THAT(std::span(back).last(10), testing::Each(1.0F));
}

TEST_F(Writer, StartingTheNextSaveFinishesTheOneUnderWayAndBothAreTold) {
  alone(3, [&](CheckpointWriter& writer, Communicator& group) {
    job_.start(writer, group, 1);
    job_.start(writer, group, 2);
    const auto first = writer.finish(), second = writer.finish();
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->step, 1);
    EXPECT_EQ(second->step, 2);
    EXPECT_TRUE(first->ok && second->ok);
    EXPECT_FALSE(writer.finish().has_value());
  });
}

TEST_F(Writer, WorksWithoutABackgroundThread) {
  run_workers(2, [&](Communicator& group) {
    CheckpointWriter writer(real_file_system(), group, {.directory = place_.path(), .background = false});
    job_.start(writer, group, 1);
    const auto result = writer.poll();
    EXPECT_TRUE(result && result->ok);
  });
  EXPECT_EQ(fault_of(real_file_system(), job_, place_.path(), 1), "");
}

TEST_F(Writer, AStepThatIsThereAlreadyIsLeftAsItIs) {
  alone(3, [&](CheckpointWriter& writer, Communicator& group) { EXPECT_TRUE(job_.save(writer, group, 1).ok); });
  const std::string manifest = place_.path() + "/" + checkpoint_name(1) + "/manifest.json";
  const auto written = std::filesystem::last_write_time(manifest);
  alone(3, [&](CheckpointWriter& writer, Communicator& group) { EXPECT_TRUE(job_.save(writer, group, 1).ok); });
  EXPECT_EQ(std::filesystem::last_write_time(manifest), written);
}

TEST_F(Writer, KeepsTheNewestAndThePinned) {
  alone(2, [&](CheckpointWriter& writer, Communicator& group) {
    writer.pin("best", 2);
    for (int step = 1; step <= 6; ++step) EXPECT_TRUE(job_.save(writer, group, step).ok);
    EXPECT_THAT(steps(), testing::ElementsAre(6, 5, 2));
    writer.pin("best", 5);
    writer.pin("resumed", 6);
    for (int step = 7; step <= 9; ++step) EXPECT_TRUE(job_.save(writer, group, step).ok);
    EXPECT_THAT(steps(), testing::ElementsAre(9, 8, 6, 5));
  });
}

TEST_F(Writer, LeavesTheCheckpointsOfLaterStepsAlone) {
  alone(1, [&](CheckpointWriter& writer, Communicator& group) {
    EXPECT_TRUE(job_.save(writer, group, 9).ok);
    for (int step = 1; step <= 3; ++step) EXPECT_TRUE(job_.save(writer, group, step).ok);
  });
  EXPECT_THAT(steps(), testing::ElementsAre(9, 3));
}

TEST_F(Writer, RefusesADirectoryThatAnotherJobWritesOnEveryWorkerUntilItIsGone) {
  run_workers(2, [&](Communicator& group) {
    {
      CheckpointWriter first(real_file_system(), group, {.directory = place_.path()});
      try {
        CheckpointWriter second(real_file_system(), group, {.directory = place_.path()});
        ADD_FAILURE() << "two writers";
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::kBusy);
        EXPECT_THAT(error.what(),
                    testing::HasSubstr("another job writes checkpoints here (process " + std::to_string(::getpid())));
      }
    }
    EXPECT_NO_THROW(CheckpointWriter(real_file_system(), group, {.directory = place_.path()}));
  });
}

TEST_F(Writer, RemovesWhatADeadJobLeftAndNothingElse) {
  for (const char* name :
       {".tmp-step-000000000001-4-f", ".trash-step-000000000002-4-f", "notes", "step-000000000003"}) {
    std::filesystem::create_directory(place_.path() + "/" + name);
    write_file(place_.path() + "/" + name + "/weights.h5", "half");
  }
  alone(1, [](CheckpointWriter&, Communicator&) {});
  EXPECT_THAT(real_file_system().list(place_.path()), testing::ElementsAre(".lock", "notes", "step-000000000003"));
}

TEST_F(Writer, ClearsNothingBehindALink) {
  const TemporaryDirectory elsewhere(Storage::kMemory);
  write_file(elsewhere.path() + "/weights.h5", "precious");
  std::filesystem::create_directory_symlink(elsewhere.path(), place_.path() + "/.trash-step-000000000001-1-1");
  EXPECT_THROW(alone(1, [](CheckpointWriter&, Communicator&) {}), Error);
  EXPECT_EQ(file_text(elsewhere.path() + "/weights.h5"), "precious");
}

TEST_F(Writer, MakesItsDirectoryAndKeepsItPrivate) {
  const std::string directory = place_.path() + "/runs/gpt//checkpoints/";
  EXPECT_TRUE(job_.save_alone(real_file_system(), directory, 1).ok);
  struct stat status {};
  EXPECT_EQ(::stat((directory + checkpoint_name(1)).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700U);
  EXPECT_EQ(::stat((directory + checkpoint_name(1) + "/weights.h5").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(Writer, ADirectoryThatCannotBeMadeIsAnErrorOnEveryWorker) {
  write_file(place_.path() + "/file", "");
  std::atomic<int> refused = 0;
  run_workers(2, [&](Communicator& group) {
    try {
      CheckpointWriter writer(real_file_system(), group, {.directory = place_.path() + "/file/checkpoints"});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kIo);
      EXPECT_THAT(error.what(), testing::HasSubstr("/file/checkpoints: Not a directory"));
      ++refused;
    }
  });
  EXPECT_EQ(refused, 2);
}

TEST_F(Writer, GivesUpASaveThatIsUnderWayWhenItIsDestroyed) {
  FaultyFileSystem slow(place_.path());
  run_workers(2, [&](Communicator& group) {
    CheckpointWriter writer(slow, group, {.directory = place_.path()});
    slow.delay_each(milliseconds(1));
    job_.start(writer, group, 1);
    static_cast<void>(writer.poll());
  });
  EXPECT_TRUE(steps().empty());
  alone(1, [](CheckpointWriter&, Communicator&) {});
  EXPECT_THAT(real_file_system().list(place_.path()), testing::ElementsAre(".lock"));
}

TEST_F(Writer, HolesAndOverlapsBetweenWorkersAreDefectsThatEveryWorkerSees) {
  std::atomic<int> seen = 0;
  run_workers(2, [&](Communicator& group) {
    CheckpointWriter writer(real_file_system(), group, {.directory = place_.path()});
    const std::vector<float> values(10);
    const auto try_pieces = [&](std::int64_t begin, std::size_t count) {
      const ConstTensorPiece piece{0, group.rank() == 0 ? 0 : begin,
                                   device_span(std::span(values).first(group.rank() == 0 ? 5 : count))};
      try {
        writer.start({{"a", {10}}}, {&piece, 1}, ExampleJob::state(1), host_backend());
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("'a'"));
        ++seen;
      }
    };
    try_pieces(6, 4);
    try_pieces(4, 6);
    try_pieces(5, 4);
    try_pieces(5, 6);
    EXPECT_FALSE(writer.finish().has_value());
  });
  EXPECT_EQ(seen, 8);
}

TEST_F(Writer, NamesThatHdf5OrPathsCannotHoldAreDefects) {
  alone(1, [&](CheckpointWriter& writer, Communicator&) {
    for (const char* name : {"", "a//b", "../a", "a b", "\x1b[2J"}) {
      EXPECT_THROW(writer.start({{name, {0}}}, {}, ExampleJob::state(1), host_backend()), Error) << name;
    }
    EXPECT_THROW(writer.start({{"a", {0}}, {"a", {0}}}, {}, ExampleJob::state(1), host_backend()), Error);
    EXPECT_NO_THROW(writer.start({{"a", {0}}, {"a/b", {0}}}, {}, ExampleJob::state(1), host_backend()));
    const auto result = writer.finish();
    EXPECT_TRUE(result && !result->ok && !result->message.empty()) << "a dataset cannot be a group";
  });
  EXPECT_TRUE(steps().empty());
}

}  // namespace
}  // namespace ballast
