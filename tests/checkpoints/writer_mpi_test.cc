// The same over MPI: save in the background, tell everyone, load on all ranks; one rank's full disk is everybody's
// failed save.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "checkpoints/checkpoint.h"
#include "tests/checkpoints/example_job.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/mpi_world.h"

namespace ballast {
namespace {

// One directory for all ranks, removed by rank 0 when all are done with it.
class SharedPlace {
 public:
  explicit SharedPlace(Communicator& group) : group_(group) {
    if (group.rank() == 0) place_ = std::make_unique<TemporaryDirectory>();
    path_ = broadcast_string(group, place_ ? place_->path() : "", 0);
  }
  ~SharedPlace() { group_.barrier(); }
  SharedPlace(const SharedPlace&) = delete;
  SharedPlace& operator=(const SharedPlace&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  Communicator& group_;
  std::unique_ptr<TemporaryDirectory> place_;
  std::string path_;
};

TEST(WriterMpi, SavesBehindTrainingAndLoadsOnEveryRank) {
  Communicator& group = mpi_world();
  const SharedPlace place(group);
  const ExampleJob job = ExampleJob::odd_sizes();
  CheckpointWriter writer(real_file_system(), group, {.directory = place.path()});
  job.start(writer, group, 3);
  std::optional<SaveResult> result;
  while (!result) result = writer.poll();
  EXPECT_TRUE(result->ok) << result->message;
  EXPECT_GT(result->bytes, 9900000);

  std::vector<std::string> warnings;
  const auto checkpoint = newest_checkpoint(real_file_system(), group, place.path(), warnings, Soundness::kVerified);
  EXPECT_TRUE(checkpoint.has_value());
  EXPECT_TRUE(warnings.empty());
  const int part = group.size() - 1 - group.rank();
  EXPECT_EQ(checkpoint ? job.wrong_values(*checkpoint, part, group.size(), 3) : -1, 0);
}

TEST(WriterMpi, OneRanksFullDiskFailsTheSaveOnAllAndTheOldCheckpointStays) {
  Communicator& group = mpi_world();
  const SharedPlace place(group);
  const ExampleJob job = ExampleJob::odd_sizes();
  FaultyFileSystem files(place.path());
  CheckpointWriter writer(files, group, {.directory = place.path()});
  EXPECT_TRUE(job.save(writer, group, 1).ok);
  const int last = group.size() - 1;
  if (group.rank() == last) files.fail_at(0, Fault::kStaysFull);
  const SaveResult result = job.save(writer, group, 2);
  EXPECT_FALSE(result.ok);
  EXPECT_THAT(result.message, testing::StartsWith("rank " + std::to_string(last) + " on "));
  EXPECT_THAT(result.message, testing::EndsWith("No space left on device"));
  files.fail_at(0, Fault::kNone);
  EXPECT_EQ(fault_of(real_file_system(), job, place.path(), 1), "");
  EXPECT_THAT(list_checkpoints(real_file_system(), place.path()), testing::ElementsAre(1));
  group.barrier();
  EXPECT_TRUE(job.save(writer, group, 2).ok);
}

}  // namespace
}  // namespace ballast
