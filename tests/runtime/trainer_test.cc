// Whole jobs with threads as workers: the promises of the training loop without mpirun.
#include "runtime/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/resume.h"
#include "tests/runtime/small_jobs.h"

namespace ballast {
namespace {

TEST_F(TrainerTest, GivesTheSameBitsOnAnyNumberOfWorkers) {
  Recorder one;
  const JobConfig alone = job("one");
  run(alone, 1, one);
  ASSERT_EQ(one.losses.size(), 6U);
  for (const int workers : {2, 3, 4}) {
    for (const std::int64_t coordinators : {0, 1, 2}) {
      JobConfig config = job(std::to_string(workers) + "-" + std::to_string(coordinators));
      config.comm.coordinators = coordinators;
      Recorder several;
      run(config, workers, several);
      EXPECT_EQ(several.losses, one.losses) << workers << " workers, " << coordinators << " coordinators";
      EXPECT_EQ(several.evaluations, one.evaluations);
      EXPECT_EQ(digest(config, 6), digest(alone, 6));
    }
  }
}

TEST_F(TrainerTest, BucketsAsTheNetworkAsksChangeNoBitsAndAreTold) {
  Recorder one;
  const JobConfig alone = job("one");
  run(alone, 1, one);
  JobConfig config = job("automatic");
  config.comm.bucket_mib = JobConfig{}.comm.bucket_mib;
  config.job.steps = 3;
  Recorder several;
  run(config, 3, 1, several);
  const auto told = testing::Contains(testing::HasSubstr("MiB (comm.bucket_mib)"));
  EXPECT_THAT(several.notices, told);
  std::ostringstream log;
  log << std::ifstream(config.job.dir + "/log").rdbuf();
  EXPECT_THAT(log.str(), testing::HasSubstr("3 nodes: latency "));
  config.job.steps = 6;
  several.notices.clear();
  run(config, 4, 2, several);
  EXPECT_THAT(several.notices, told);
  EXPECT_EQ(several.losses, one.losses);
  EXPECT_EQ(digest(config, 6), digest(alone, 6));
  EXPECT_THAT(one.notices, testing::Not(told));
}

TEST_F(TrainerTest, ResumedOnAnotherNumberOfWorkersEndsWithTheSameBits) {
  Recorder whole;
  const JobConfig uninterrupted = job("whole");
  run(uninterrupted, 3, whole);
  JobConfig config = job("parts");
  config.optimizer.name = uninterrupted.optimizer.name;
  config.job.steps = 2;
  Recorder recorder;
  run(config, 2, recorder);
  config.job.steps = 5;
  run(config, 4, recorder);
  config.job.steps = 6;
  run(config, 1, recorder);
  EXPECT_EQ(recorder.losses, whole.losses);
  EXPECT_EQ(digest(config, 6), digest(uninterrupted, 6));
}

/// Evaluations between the steps read values as well, and as many workers as want to.
TEST_F(TrainerTest, ShardsInThreeWaysFromOneCheckpointToTheNextWithTheSameBits) {
  Recorder whole, recorder;
  JobConfig uninterrupted = job("unsharded");
  uninterrupted.model.hidden = {16, 16, 16, 16, 16};  // more buckets than stay
  uninterrupted.evaluate.every = 1;
  uninterrupted.watch.values = 1;  // with copies of the weights, and without
  run(uninterrupted, 1, whole);
  JobConfig config = uninterrupted;
  config.job.dir = job("sharded").job.dir;
  config.comm.share_memory = false;
  for (const auto& [steps, workers, sharding] : {std::tuple(2, 3, "values"), std::tuple(3, 2, "gradients"),
                                                 std::tuple(4, 4, "values"), std::tuple(6, 3, "values")}) {
    config.job.steps = steps;
    config.comm.sharding = sharding;
    run(config, workers, recorder);
  }
  EXPECT_EQ(recorder.losses, whole.losses);
  EXPECT_EQ(recorder.evaluations, whole.evaluations);
  EXPECT_EQ(digest(config, 6), digest(uninterrupted, 6));
}

TEST_F(TrainerTest, MicroBatchesOfAModelWithoutDropoutChangeOnlyRounding) {
  Recorder whole;
  Recorder pieces;
  JobConfig config = job("whole-shards");
  config.model.dropout = 0.0F;
  run(config, 2, whole);
  JobConfig cut = job("micro");
  cut.model.dropout = 0.0F;
  cut.batch.micro = 2;
  run(cut, 2, pieces);
  ASSERT_EQ(whole.losses.size(), pieces.losses.size());
  for (std::size_t i = 0; i < whole.losses.size(); ++i) EXPECT_NEAR(whole.losses[i], pieces.losses[i], 1e-5);
}

TEST_F(TrainerTest, LearnsTheSyntheticClasses) {
  JobConfig config = job("learn");
  config.model.dropout = 0.0F;
  config.job.steps = 120;
  config.optimizer.lr = 1e-2;
  config.evaluate.every = 60;
  Recorder recorder;
  const RunResult result = run(config, 2, recorder);
  EXPECT_LT(recorder.losses.back(), 0.5 * recorder.losses.front());
  ASSERT_TRUE(result.validation_accuracy.has_value());
  EXPECT_GT(*result.validation_accuracy, 0.6);
}

TEST_F(TrainerTest, RefusesToResumeWithAnotherNumberOfShards) {
  JobConfig config = job("shards");
  Recorder recorder;
  run(config, 1, recorder);
  config.batch.shards = 2;
  config.job.steps = 8;
  try {
    run(config, 1, recorder);
    FAIL() << "resumed with other shards";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("batch.shards = 2 but the checkpoint was trained with 4"));
  }
}

TEST_F(TrainerTest, RefusesToResumeInAnotherOrder) {
  JobConfig config = job("order");
  Recorder recorder;
  run(config, 1, recorder);
  config.job.steps = 8;
  const auto expect_refused = [&](SampleOrder order, const char* text) {
    config.data.shuffle = order.shuffle;
    config.data.chunk = order.chunk;
    try {
      run(config, 1, recorder);
      FAIL() << "resumed in another order";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(text));
    }
  };
  expect_refused({.shuffle = false}, "data.shuffle = false but the checkpoint was trained with true");
  expect_refused({.chunk = 4}, "data.chunk = 4 but the checkpoint was trained with 0");
  config.data.chunk = 0;
  EXPECT_EQ(run(config, 1, recorder).step, 8);
}

TEST_F(TrainerTest, GoesOnFromStatesThatDoNotNameTheOrder) {
  TrainingState state;
  const Continuity now{
      .seed = 1, .shards = 4, .batch = 20, .micro = 5, .order = {}, .data = "d", .compression = "none"};
  now.write_to(state);
  state.numbers.erase("data.shuffle");
  state.numbers.erase("data.chunk");
  EXPECT_NO_THROW(require_continuable(state, now));
  Continuity chunked = now;
  chunked.order.chunk = 8;
  EXPECT_THROW(require_continuable(state, chunked), ConfigError);
}

TEST_F(TrainerTest, TrainsAndResumesOnMoreThan2To40Samples) {
  for (const std::int64_t chunk : {0, 1000}) {
    JobConfig whole = job(chunk == 0 ? "samples" : "chunks");
    whole.data.samples = (std::int64_t{1} << 41) + 7;
    whole.data.fraction = 0.5;
    whole.data.chunk = chunk;
    whole.evaluate.batches = 1;
    Recorder recorder;
    run(whole, 3, recorder);
    JobConfig parts = whole;
    parts.job.dir += "-parts";
    parts.job.steps = 4;
    Recorder others;
    run(parts, 1, others);
    parts.job.steps = 6;
    run(parts, 2, others);
    EXPECT_EQ(others.losses, recorder.losses);
    EXPECT_EQ(digest(parts, 6), digest(whole, 6));
  }
}

TEST_F(TrainerTest, EvaluatesMoreMicroBatchesThanAreExchangedAtOnce) {
  JobConfig config = job("alone");
  config.data.samples = 10'000;
  config.data.fraction = 0.5;  // 5000 micro-batches of one sample
  config.batch.micro = 1;
  config.job.steps = 1;
  Recorder one, three;
  const RunResult result = run(config, 1, one);
  config.job.dir += "-not";
  run(config, 3, three);
  EXPECT_EQ(one.evaluations, three.evaluations);
  config.job.dir += "-whole";
  config.batch.micro = 5;
  Recorder fives;
  const RunResult in_fives = run(config, 1, fives);
  EXPECT_NEAR(*result.validation_loss, *in_fives.validation_loss, 1e-4);
}

TEST_F(TrainerTest, RefusesRunsThatCannotBeCounted) {
  JobConfig config = job("long");
  Recorder recorder;
  config.data.samples = std::int64_t{1} << 41;
  config.job.steps = 1'000'000'000'000;
  EXPECT_THROW(run(config, 1, recorder), ConfigError);
  config.job.steps = 0;
  config.job.epochs = 100.0;
  EXPECT_THROW(run(config, 1, recorder), ConfigError);
  config.job.epochs = 1e300;
  EXPECT_THROW(run(config, 1, recorder), ConfigError);
}

TEST_F(TrainerTest, RefusesToStartAfreshOverCheckpoints) {
  JobConfig config = job("never");
  Recorder recorder;
  run(config, 1, recorder);
  config.job.resume = "never";
  EXPECT_THROW(run(config, 1, recorder), ConfigError);
}

TEST_F(TrainerTest, BranchesOffAnotherRunsCheckpointButNotItsOwnPast) {
  JobConfig config = job("trunk");
  config.checkpoint.every_steps = 3;
  Recorder recorder;
  run(config, 1, recorder);
  const std::string past = config.job.dir + "/checkpoints/" + checkpoint_name(3);
  config.job.resume = past;
  EXPECT_THROW(run(config, 1, recorder), ConfigError);
  config.job.dir = folder_ + "/branch";
  Recorder branch;
  run(config, 2, branch);
  EXPECT_EQ(branch.losses.size(), 3U);
  EXPECT_EQ(digest(config, 6), digest(job("trunk"), 6));
}

/// Of this process, by read() and its like.
std::int64_t bytes_read() {
  std::ifstream io("/proc/self/io");
  std::string name;
  std::int64_t bytes = 0;
  io >> name >> bytes;
  EXPECT_EQ(name, "rchar:");
  return bytes;
}

TEST_F(TrainerTest, ReadsEveryByteOfTheCheckpointOnce) {
  JobConfig config = job("large");
  config.model.hidden = {2000, 500};
  config.comm.bucket_mib = 64;
  config.job.steps = 1;
  Recorder recorder;
  run(config, 1, recorder);
  config.job.steps = 2;
  config.comm.bucket_mib = 0.2;  // 20 pieces of each segment
  const std::int64_t before = bytes_read();
  run(config, 1, recorder);
  const auto read = static_cast<double>(bytes_read() - before);
  const auto stored = static_cast<double>(recorder.saves.front().bytes);
  EXPECT_GT(stored, 12e6);
  EXPECT_GE(read, stored);
  EXPECT_LT(read, 1.05 * stored);
}

void damage_last_byte(const std::string& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-1, std::ios::end);
  const int last = stream.get();
  stream.seekp(-1, std::ios::end);
  stream.put(static_cast<char>(last ^ 1));
}

TEST_F(TrainerTest, GoesOnFromTheCheckpointBeforeWhereOneWorkersPartOfTheNewestIsDamaged) {
  JobConfig config = job("damaged");
  config.checkpoint.every_steps = 2;
  Recorder whole, recorder;
  run(config, 3, whole);
  const std::string digest_before = digest(config, 6);
  const auto file_of = [&](int step) {
    return config.job.dir + "/checkpoints/" + checkpoint_name(step) + "/optimizer.h5";
  };
  damage_last_byte(file_of(6));
  run(config, 3, recorder);
  EXPECT_THAT(recorder.warnings, testing::Contains(testing::AllOf(testing::HasSubstr("step 6 is passed over"),
                                                                  testing::HasSubstr("optimizer.h5"))));
  EXPECT_THAT(recorder.losses, testing::ElementsAre(whole.losses[4], whole.losses[5]));
  EXPECT_EQ(digest(config, 6), digest_before);
  int steps = 0;
  std::ifstream metrics(config.job.dir + "/metrics.jsonl");
  for (std::string line; std::getline(metrics, line);) steps += line.find(R"("event":"step")") != std::string::npos;
  EXPECT_EQ(steps, 6) << "those behind the checkpoint are cut off";

  for (const std::int64_t step : list_checkpoints(real_file_system(), config.job.dir + "/checkpoints")) {
    damage_last_byte(file_of(static_cast<int>(step)));
  }
  EXPECT_THAT([&] { run(config, 3, recorder); },
              testing::ThrowsMessage<DataError>(testing::HasSubstr("is sound (the newest: checkpoint of step 6")));
}

TEST_F(TrainerTest, DoesNotChooseAnotherCheckpointThanTheOneAskedFor) {
  JobConfig config = job("trunk");
  config.checkpoint.every_steps = 3;
  Recorder recorder;
  run(config, 1, recorder);
  const std::string folder = config.job.dir + "/checkpoints/" + checkpoint_name(6);
  damage_last_byte(folder + "/weights.h5");
  config.job.resume = folder;
  config.job.dir = folder_ + "/branch";
  EXPECT_THROW(run(config, 2, recorder), DataError);
}

TEST_F(TrainerTest, StopsEarlyAndKeepsTheBestCheckpoint) {
  JobConfig config = job("early");
  config.job.steps = 400;
  config.optimizer.lr = 0.3;  // far too high: the validation loss soon rises
  config.optimizer.clip = 0.0;
  config.evaluate = {.every = 2, .patience = 3};
  config.checkpoint.keep = 1;
  Recorder recorder;
  const RunResult result = run(config, 2, recorder);
  ASSERT_LT(result.step, 400);
  const auto best = std::min_element(recorder.evaluations.begin(), recorder.evaluations.end());
  const std::int64_t best_step = 2 * (best - recorder.evaluations.begin() + 1);
  EXPECT_EQ(result.step, best_step + 6);
  EXPECT_THAT(list_checkpoints(real_file_system(), config.job.dir + "/checkpoints"), testing::Contains(best_step));
}

TEST_F(TrainerTest, NamesTheWeightWhoseGradientIsNotFinite) {
  JobConfig config = job("diverge");
  config.job.steps = 50;
  config.optimizer = {.name = "sgd", .lr = 1e30};
  Recorder recorder;
  try {
    run(config, 2, recorder);
    FAIL() << "trained on numbers that are not finite";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::ContainsRegex("step [0-9]+: the gradient of .* is not finite"));
  }
}

TEST_F(TrainerTest, CutsMetricsBackOnResume) {
  JobConfig config = job("metrics");
  Recorder recorder;
  run(config, 1, recorder);
  std::filesystem::remove_all(config.job.dir + "/checkpoints/" + checkpoint_name(6));
  {
    std::ofstream metrics(config.job.dir + "/metrics.jsonl", std::ios::app);
    metrics << R"({"event":"step","step":9,"loss":1.0})"
            << "\n{\"event\":\"st";
  }
  config.job.steps = 3;
  config.job.dir = folder_ + "/metrics";
  run(config, 1, recorder);
  std::ifstream metrics(config.job.dir + "/metrics.jsonl");
  int steps = 0;
  for (std::string line; std::getline(metrics, line);) {
    if (line.find(R"("event":"step")") != std::string::npos) ++steps;
    EXPECT_EQ(line.find("\"step\":9"), std::string::npos);
  }
  EXPECT_EQ(steps, 3);
}

}  // namespace
}  // namespace ballast
