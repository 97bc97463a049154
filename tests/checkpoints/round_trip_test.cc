// What is saved by N workers is read by M, bit for bit, and by everybody else's HDF5 tools.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <set>
#include <string>

#include "checkpoints/checkpoint.h"
#include "checkpoints/format/manifest.h"
#include "compute/error.h"
#include "tests/checkpoints/example_job.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

void save_with(int workers, const ExampleJob& job, const std::string& directory, std::int64_t step) {
  run_workers(workers, [&](Communicator& group) {
    CheckpointWriter writer(real_file_system(), group, {.directory = directory});
    const SaveResult result = job.save(writer, group, step);
    EXPECT_TRUE(result.ok) << result.message;
    EXPECT_EQ(result.step, step);
  });
}

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  std::string text;
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe.get()) != nullptr) text += buffer.data();
  return text;
}

TEST(RoundTrip, LoadsOnAnyNumberOfWorkersWithTheSameDigest) {
  const ExampleJob job = ExampleJob::odd_sizes();
  std::set<std::string> digests;
  for (int writers = 1; writers <= 4; ++writers) {
    const TemporaryDirectory place;
    save_with(writers, job, place.path(), 7);
    for (int readers = 1; readers <= 4; ++readers) {
      std::atomic<std::int64_t> wrong = 0;
      run_workers(readers, [&](Communicator& group) {
        std::vector<std::string> warnings;
        const auto checkpoint =
            newest_checkpoint(real_file_system(), group, place.path(), warnings, Soundness::kVerified);
        EXPECT_TRUE(checkpoint && checkpoint->step() == 7 && warnings.empty());
        if (checkpoint) wrong += job.wrong_values(*checkpoint, group.rank(), group.size(), 7);
      });
      EXPECT_EQ(wrong, 0) << writers << " -> " << readers;
    }
    digests.insert(Checkpoint::open(real_file_system(), place.path() + "/" + checkpoint_name(7)).weights_digest());
  }
  EXPECT_EQ(digests.size(), 1U);
}

TEST(RoundTrip, WritesTheSameHdf5BytesWhateverTheNumberOfWorkers) {
  const TemporaryDirectory one, three;
  save_with(1, ExampleJob::odd_sizes(), one.path(), 7);
  save_with(3, ExampleJob::odd_sizes(), three.path(), 7);
  for (const char* name : {"weights.h5", "optimizer.h5", "state"}) {
    const std::string path = "/" + checkpoint_name(7) + "/" + name;
    EXPECT_TRUE(file_text(one.path() + path) == file_text(three.path() + path)) << name;
  }
}

TEST(RoundTrip, KeepsTheTrainingStateExactly) {
  const TemporaryDirectory place;
  ExampleJob::small().save_alone(real_file_system(), place.path(), 9);
  const TrainingState want = ExampleJob::state(9);
  const TrainingState have = Checkpoint::open(real_file_system(), place.path() + "/" + checkpoint_name(9)).state();
  EXPECT_EQ(have.step, want.step);
  EXPECT_EQ(have.samples_seen, want.samples_seen);
  EXPECT_EQ(have.seed, want.seed);
  EXPECT_EQ(have.shards, want.shards);
  EXPECT_EQ(have.config, want.config);
  EXPECT_EQ(have.numbers, want.numbers);
  EXPECT_EQ(have.texts, want.texts);
}

TEST(RoundTrip, NeedsNoOptimizerTensorsAndNoTensorsAtAll) {
  const TemporaryDirectory place;
  const ExampleJob sgd{{{"weight", {4, 4}}}};
  const ExampleJob none{};
  EXPECT_TRUE(sgd.save_alone(real_file_system(), place.path(), 1).ok);
  EXPECT_TRUE(none.save_alone(real_file_system(), place.path(), 2).ok);
  EXPECT_EQ(fault_of(real_file_system(), sgd, place.path(), 1), "");
  EXPECT_EQ(fault_of(real_file_system(), none, place.path(), 2), "");
}

TEST(RoundTrip, DigestChangesWithValueNameAndShapeButNotWithOptimizerState) {
  const auto digest = [](const ExampleJob& job, std::int64_t step) {
    const TemporaryDirectory place;
    job.save_alone(real_file_system(), place.path(), step);
    return Checkpoint::open(real_file_system(), place.path() + "/" + checkpoint_name(step)).weights_digest();
  };
  const std::string base = digest({{{"a", {6}}}}, 10);
  EXPECT_NE(digest({{{"a", {6}}}}, 11), base);
  EXPECT_NE(digest({{{"b", {6}}}}, 10), base);
  EXPECT_NE(digest({{{"a", {2, 3}}}}, 10), base);
  EXPECT_EQ(digest({{{"a", {6}}, {"m/a", {6}, TensorFile::kOptimizer}}}, 10), base);
}

TEST(RoundTrip, CountsTheBytesOfAllFiles) {
  const TemporaryDirectory place;
  const SaveResult result = ExampleJob::small().save_alone(real_file_system(), place.path(), 1);
  std::int64_t bytes = 0;
  const std::string directory = place.path() + "/" + checkpoint_name(1);
  for (const std::string& name : real_file_system().list(directory)) {
    bytes += static_cast<std::int64_t>(file_text(directory + "/" + name).size());
  }
  EXPECT_EQ(result.bytes, bytes);
  EXPECT_EQ(Checkpoint::open(real_file_system(), directory).bytes(), bytes);
}

TEST(RoundTrip, IsReadByH5dump) {
  if (output_of("h5dump --version 2>/dev/null").empty()) GTEST_SKIP() << "h5dump (package hdf5-tools) is not installed";
  const TemporaryDirectory place;
  const ExampleJob job{
      {{"blocks.0.weight", {2, 3}}, {"scale", {}}, {"m/blocks.0.weight", {2, 3}, TensorFile::kOptimizer}}};
  save_with(2, job, place.path(), 3);
  const std::string directory = place.path() + "/" + checkpoint_name(3);
  const std::string weights = output_of("h5dump " + directory + "/weights.h5 2>&1");
  EXPECT_THAT(weights, testing::HasSubstr("DATASET \"blocks.0.weight\""));
  EXPECT_THAT(weights, testing::HasSubstr("H5T_IEEE_F32LE"));
  EXPECT_THAT(weights, testing::HasSubstr("SIMPLE { ( 2, 3 ) / ( 2, 3 ) }"));
  EXPECT_THAT(weights, testing::HasSubstr("(0,0): -997.375, -993.5, -989.625"));
  EXPECT_THAT(weights, testing::HasSubstr("DATASPACE  SCALAR"));
  const std::string optimizer = output_of("h5dump -d /m/blocks.0.weight " + directory + "/optimizer.h5 2>&1");
  EXPECT_THAT(optimizer, testing::HasSubstr("(1,0): -985.5"));
}

TEST(RoundTrip, NamesTheFirstTensorThatDiffersWithBothShapes) {
  const TemporaryDirectory place;
  ExampleJob::small().save_alone(real_file_system(), place.path(), 1);
  const Checkpoint checkpoint = Checkpoint::open(real_file_system(), place.path() + "/" + checkpoint_name(1));
  const auto message = [&](std::vector<TensorSpec> expected) -> std::string {
    try {
      require_same_tensors(checkpoint, expected);
      return "";
    } catch (const DataError& error) {
      return error.what();
    }
  };
  const std::vector<TensorSpec> same = ExampleJob::small().tensors;
  EXPECT_EQ(message(same), "");
  std::vector<TensorSpec> other = same;
  other[0].shape = {3, 6};
  EXPECT_THAT(message(other),
              testing::HasSubstr("'weight' of weights.h5 is [3, 5] in the checkpoint and [3, 6] in the model"));
  other = same;
  other[1].name = "gain";
  EXPECT_THAT(message(other),
              testing::HasSubstr("'gain' of weights.h5 is absent in the checkpoint and [1] in the model"));
  EXPECT_THAT(message({same[0], same[1]}),
              testing::HasSubstr("'m/weight' of optimizer.h5 is [3, 5] in the checkpoint and absent"));
  EXPECT_THAT(message({same[1], same[0], same[2]}), testing::HasSubstr("tensor number 0 is 'weight'"));
}

// Written by the first program of format 1.0, from two workers. It must load for ever.
TEST(RoundTrip, LoadsTheCheckpointOfFormat1_0ThatIsKept) {
  const ExampleJob job{{{"linear.weight", {2, 3}},
                        {"linear.bias", {2}},
                        {"m/linear.weight", {2, 3}, TensorFile::kOptimizer},
                        {"m/linear.bias", {2}, TensorFile::kOptimizer}}};
  EXPECT_EQ(fault_of(real_file_system(), job, GOLDEN_CHECKPOINTS, 42), "");
  const auto golden = Checkpoint::open(real_file_system(), GOLDEN_CHECKPOINTS "/" + checkpoint_name(42));
  EXPECT_EQ(golden.weights_digest(), "cc172966d55013a58084d7821ace1fef");
  EXPECT_EQ(golden.state().texts, ExampleJob::state(42).texts);
}

TEST(RoundTrip, CutsSegmentsAtFourMebibytesAndWhereOwnersMeet) {
  const TemporaryDirectory place;
  save_with(3, {{{"weight", {1031, 3203}}}}, place.path(), 1);
  const std::string path = place.path() + "/" + checkpoint_name(1) + "/manifest.json";
  const Manifest manifest = decode_manifest(file_text(path), path);
  std::vector<std::int64_t> ends;
  for (const auto& segment : manifest.segments) ends.push_back(segment.end);
  const std::int64_t all = std::int64_t{1031} * 3203;
  EXPECT_THAT(ends, testing::ElementsAre(kSegmentElements, all / 3, 2 * kSegmentElements, all * 2 / 3,
                                         3 * kSegmentElements, all));
}

}  // namespace
}  // namespace ballast
