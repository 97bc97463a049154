// Every file operation of a save fails in turn, in every way, until a save meets no failure. Whatever was acknowledged
// must be there afterwards, sound: as the process left it, and as a power loss would have left it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "tests/checkpoints/example_job.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

// What a job was told before the fault stopped it.
struct Told {
  std::vector<std::int64_t> saved;
  std::vector<std::string> failures;
};

// Saves steps 1, 2 and 3 and keeps 2; the fault is armed after step 1.
Told run_job(FaultyFileSystem& files, const ExampleJob& job, const std::string& directory, int workers,
             std::int64_t operation, Fault fault) {
  Told told;
  run_workers(workers, [&](Communicator& group) {
    CheckpointWriter writer(files, group, {.directory = directory, .keep = 2});
    for (std::int64_t step = 1; step <= 3; ++step) {
      group.barrier();
      if (step == 2 && group.rank() == 0) files.fail_at(operation, fault);
      group.barrier();
      const SaveResult result = job.save(writer, group, step);
      if (group.rank() != 0) continue;
      if (result.ok) told.saved.push_back(step);
      if (!result.ok || !result.message.empty()) told.failures.push_back(result.message);
    }
  });
  return told;
}

// The last acknowledged checkpoint is sound in `directory`, and the newest that is found is not older.
void expect_sound(const ExampleJob& job, const std::string& directory, const Told& told) {
  const std::int64_t last = told.saved.back();
  EXPECT_EQ(fault_of(real_file_system(), job, directory, last), "");
  std::vector<std::string> warnings;
  const auto newest = newest_alone(directory, warnings);
  EXPECT_TRUE(newest && newest->step() >= last);
  EXPECT_TRUE(warnings.empty()) << warnings.front();
}

class Crash : public testing::TestWithParam<std::tuple<Fault, int>> {};

TEST_P(Crash, NeverLosesAnAcknowledgedCheckpoint) {
  const auto [fault, workers] = GetParam();
  const ExampleJob job = ExampleJob::small();
  int injected = 0;
  bool rank_1_failed = false;
  for (std::int64_t operation = 0;; ++operation) {
    SCOPED_TRACE("operation " + std::to_string(operation));
    const TemporaryDirectory place(Storage::kMemory), lost(Storage::kMemory);
    FaultyFileSystem files(place.path());
    const std::string directory = place.path() + "/checkpoints";
    const Told told = run_job(files, job, directory, workers, operation, fault);
    ASSERT_FALSE(told.saved.empty());
    expect_sound(job, directory, told);
    files.restore_after_power_loss(lost.path());
    expect_sound(job, lost.path() + "/checkpoints", told);

    const bool hit = files.failed();
    files.fail_at(0, Fault::kNone);
    EXPECT_TRUE(job.save_alone(files, directory, 4).ok);
    EXPECT_EQ(fault_of(real_file_system(), job, directory, 4), "");
    for (const std::string& name : real_file_system().list(directory)) {
      EXPECT_TRUE(name.starts_with("step-") || name == ".lock") << "left behind: " << name;
    }
    if (!hit) {
      EXPECT_EQ(told.saved.size(), 3U);
      EXPECT_TRUE(told.failures.empty());
      break;
    }
    ++injected;
    for (const std::string& failure : told.failures) rank_1_failed |= failure.starts_with("rank 1 on ");
    // Removing old checkpoints, the last thing done, needs no space.
    EXPECT_TRUE(fault == Fault::kStaysFull || !told.failures.empty());
  }
  EXPECT_GT(injected, 40);
  // On a disk that stays full, and in a process that is dead, rank 0 fails as well and is named first.
  const bool alone = fault == Fault::kNoSpace || fault == Fault::kIoError || fault == Fault::kTornWrite;
  EXPECT_TRUE(rank_1_failed || workers == 1 || !alone);
}

INSTANTIATE_TEST_SUITE_P(EveryOperation, Crash, testing::Combine(testing::ValuesIn(kAllFaults), testing::Values(1, 2)));

TEST(Crash, AFailureIsToldAsRankHostPathAndReasonAndLeavesNothing) {
  const TemporaryDirectory place;
  FaultyFileSystem files(place.path());
  const std::string directory = place.path() + "/checkpoints";
  const ExampleJob job = ExampleJob::small();
  run_workers(3, [&](Communicator& group) {
    CheckpointWriter writer(files, group, {.directory = directory});
    EXPECT_TRUE(job.save(writer, group, 1).ok);
    group.barrier();
    if (group.rank() == 0) files.fail_at(0, Fault::kStaysFull);
    group.barrier();
    const SaveResult result = job.save(writer, group, 2);
    EXPECT_FALSE(result.ok);
    EXPECT_THAT(result.message, testing::MatchesRegex(
                                    "rank 0 on .+: .+/checkpoints/.tmp-step-000000000002-.+: No space left on device"));
    group.barrier();
    if (group.rank() == 0) files.fail_at(0, Fault::kNone);
    group.barrier();
    EXPECT_TRUE(job.save(writer, group, 3).ok);
  });
  EXPECT_THAT(real_file_system().list(directory),
              testing::ElementsAre(".lock", checkpoint_name(1), checkpoint_name(3)));
}

}  // namespace
}  // namespace ballast
