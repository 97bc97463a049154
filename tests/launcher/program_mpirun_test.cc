#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/launcher/run_program.h"

namespace ballast {
namespace {

using testing::HasSubstr;
using testing::Not;

Outcome ballast(int workers, const std::string& arguments) {
  return run_program(MPIEXEC " -n " + std::to_string(workers) + " " PROGRAM " " + arguments);
}

constexpr const char* kJob = R"(
[job]
steps = 4
[model]
name = "gpt"
layers = 1
heads = 2
width = 16
context = 8
[data]
samples = 64
[batch]
size = 8
shards = 4
)";

class ProgramUnderMpirun : public testing::Test {
 protected:
  ProgramUnderMpirun() { std::ofstream(job()) << kJob; }
  std::string job() const { return folder_.path() + "/job.toml"; }
  std::string run() const { return folder_.path() + "/run"; }

 private:
  TemporaryFolder folder_;
};

TEST_F(ProgramUnderMpirun, SaysMistakesOnceAndNothingElse) {
  const Outcome missing = ballast(3, "train no/such.toml");
  EXPECT_EQ(missing.code, 78);
  EXPECT_THAT(missing.output, HasSubstr("no/such.toml: cannot be read: No such file or directory"));
  EXPECT_EQ(std::count(missing.output.begin(), missing.output.end(), '\n'), 1) << missing.output;
  const Outcome two = ballast(3, "train " + job() + " batch.size=7 optimizer.lrr=1");
  EXPECT_EQ(two.code, 78);
  EXPECT_EQ(std::count(two.output.begin(), two.output.end(), '\n'), 3) << two.output;
}

TEST_F(ProgramUnderMpirun, RefusesMoreWorkersThanShards) {
  const Outcome outcome = ballast(5, "train " + job() + " job.dir=" + run());
  EXPECT_EQ(outcome.code, 78);
  EXPECT_THAT(outcome.output, HasSubstr("batch.shards"));
}

TEST_F(ProgramUnderMpirun, OnlyOneWorkerSpeaks) {
  const Outcome outcome = ballast(3, "train " + job() + " log.every=1 job.dir=" + run());
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  const std::size_t first = outcome.output.find("step 3/4");
  EXPECT_NE(first, std::string::npos);
  EXPECT_EQ(outcome.output.find("step 3/4", first + 1), std::string::npos) << outcome.output;
  EXPECT_THAT(outcome.output, Not(HasSubstr("\033")));
}

TEST_F(ProgramUnderMpirun, DoctorListsEveryWorkerOnce) {
  const Outcome outcome = ballast(3, "doctor --json compute.plugins=/none");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  const auto report = nlohmann::json::parse(outcome.output);
  EXPECT_EQ(report["workers"].size(), 3U);
}

TEST_F(ProgramUnderMpirun, CudaWithoutDevicesIsOneLineForAllWorkers) {
  const Outcome outcome =
      ballast(3, "train " + job() + " job.dir=" + run() + " compute.backend=cuda compute.plugins=/none");
  EXPECT_EQ(outcome.code, 78);
  EXPECT_THAT(outcome.output, HasSubstr("/none/ballast_cuda.so: cannot open"));
  EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
}

TEST_F(ProgramUnderMpirun, CheckpointsServeAnyNumberOfWorkers) {
  EXPECT_EQ(ballast(3, "train " + job() + " job.dir=" + run()).code, 0);
  const Outcome one = ballast(1, "eval --json " + run());
  EXPECT_EQ(one.code, 0);
  EXPECT_EQ(ballast(2, "eval --json " + run()).output, one.output) << "one line, with the same bits";
  const std::string words = "generate " + run() + " --prompt ab --tokens 20 --seed 5";
  const Outcome text = ballast(1, words);
  EXPECT_EQ(text.code, 0);
  EXPECT_EQ(text.output.substr(0, 2), "ab");
  EXPECT_EQ(ballast(2, words).output, text.output);
  EXPECT_EQ(ballast(2, "generate " + run() + " --prompt ''").code, 78);
}

}  // namespace
}  // namespace ballast
