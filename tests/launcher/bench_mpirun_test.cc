// `ballast bench` as a shell sees it, with two workers and little time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/launcher/run_program.h"

namespace ballast {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Outcome bench(const std::string& arguments) { return run_program(MPIEXEC " -n 2 " PROGRAM " bench " + arguments); }

/// The one object that the benchmark prints.
json object_of(const std::string& arguments) {
  const Outcome outcome = bench(arguments + " --json --threads 1 2>/dev/null");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  const json object = json::parse(outcome.output, nullptr, false);
  EXPECT_TRUE(object.is_object()) << outcome.output;
  EXPECT_EQ(object.value("workers", 0), 2);
  EXPECT_EQ(object.value("threads", 0), 1);
  return object;
}

void expect_rates(const json& rates) {
  EXPECT_EQ(rates.at("per_worker").size(), 2U);
  EXPECT_GT(rates.at("low").get<double>(), 0.0);
  EXPECT_GE(rates.at("high").get<double>(), rates.at("low").get<double>());
  EXPECT_GT(rates.at("sum").get<double>(), rates.at("low").get<double>());
}

TEST(BenchUnderMpirun, GemmTimesThreeProductsOfEveryLayer) {
  const json object = object_of("gemm --shapes 32x48x64,8x8x8 --seconds 0.1");
  EXPECT_EQ(object.at("bench"), "gemm");
  EXPECT_EQ(object.at("rows").size(), 12U);
  const json& row = object.at("rows").at(0);
  EXPECT_EQ(row.at("m"), 32);
  EXPECT_EQ(row.at("n"), 48);
  EXPECT_EQ(row.at("k"), 64);
  EXPECT_EQ(row.at("product"), "forward");
  EXPECT_EQ(row.at("precision"), "f32");
  for (const json& one : object.at("rows")) expect_rates(one.at("flops_per_second"));
}

TEST(BenchUnderMpirun, MemoryTimesEveryPass) {
  const json object = object_of("memory --seconds 0.1");
  EXPECT_EQ(object.at("bench"), "memory");
  EXPECT_EQ(object.at("rows").size(), 6U);
  EXPECT_EQ(object.at("rows").at(4).at("pass"), "adamw");
  EXPECT_EQ(object.at("rows").at(4).at("bytes_per_element"), 28.0);
  for (const json& one : object.at("rows")) expect_rates(one.at("bytes_per_second"));
}

TEST(BenchUnderMpirun, StepSaysWhereTheTimeGoes) {
  const std::string job = testing::TempDir() + "/bench_step.toml";
  std::ofstream(job) << "[model]\nname = \"gpt\"\nlayers = 1\nheads = 2\nwidth = 32\ncontext = 16\nvocabulary = 50\n"
                        "[data]\nformat = \"synthetic\"\nsamples = 64\n[batch]\nsize = 8\n[job]\nsteps = 1000\n"
                        "[compute]\nthreads = 1\n";
  const Outcome outcome = bench("step " + job + " --json --seconds 0.2 2>/dev/null");
  ASSERT_EQ(outcome.code, 0) << outcome.output;
  const json object = json::parse(outcome.output, nullptr, false);
  ASSERT_TRUE(object.is_object()) << outcome.output;
  EXPECT_EQ(object.at("bench"), "step");
  EXPECT_EQ(object.at("bucket_mib"), 8.0) << "nothing travels";
  EXPECT_GE(object.at("steps").get<int>(), 3);
  EXPECT_EQ(object.at("item"), "tokens");
  double phases = 0.0;
  for (const auto& [name, milliseconds] : object.at("phases_ms").items()) phases += milliseconds.get<double>();
  EXPECT_LE(phases, 1.5 * object.at("step_ms").at("median").get<double>());
  EXPECT_GT(phases, 0.2 * object.at("step_ms").at("low").get<double>());
  EXPECT_GT(object.at("roof_share").get<double>(), 0.0);
  EXPECT_EQ(object.at("peak_bytes").size(), 2U);
  double flops = 0.0;
  for (const json& operation : object.at("operations")) flops += operation.at("flops").get<double>();
  EXPECT_NEAR(2.0 * flops, object.at("flops").get<double>(), 1.0) << "of one worker, and of both";
}

TEST(BenchUnderMpirun, CollectiveTimesBothWays) {
  const json object = object_of("collective --sizes 8,40K,64M --seconds 0.3");
  EXPECT_EQ(object.at("bench"), "collective");
  EXPECT_EQ(object.at("rows").size(), 3U);
  EXPECT_EQ(object.at("rows").at(1).at("bytes"), 40 << 10);
  for (const json& row : object.at("rows")) {
    for (const char* side : {"ballast", "mpi"}) {
      const json& times = row.at(side);
      EXPECT_GT(times.at("low").get<double>(), 0.0);
      EXPECT_GE(times.at("seconds").get<double>(), times.at("low").get<double>());
      EXPECT_GE(times.at("high").get<double>(), times.at("seconds").get<double>());
      EXPECT_EQ(times.at("bus_bandwidth"), times.at("algorithm_bandwidth")) << "two workers: the factor is 1";
    }
  }
  EXPECT_TRUE(object.at("rows").at(0).at("roof").is_null()) << "caches hold it";
  EXPECT_EQ(object.at("rows").at(2).at("roof").at("bytes"), 40.0 * (16 << 20));
  EXPECT_GT(object.at("rows").at(2).at("roof").at("ratio").get<double>(), 0.0);
}

TEST(BenchUnderMpirun, CheckpointLeavesNothingBehind) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() + "/job.toml") << "[model]\nname = \"mlp\"\nhidden = [32]\n";
  const json object =
      object_of("checkpoint " + folder.path() + "/job.toml --seconds 0 job.dir=" + folder.path() + "/runs/first");
  EXPECT_EQ(object.at("bench"), "checkpoint");
  EXPECT_EQ(object.at("model"), "mlp");
  EXPECT_EQ(object.at("repetitions"), 3);
  EXPECT_GT(object.at("bytes").get<int>(), 3 * 4 * (784 * 32 + 32 * 10));
  for (const char* cost : {"write", "stall", "read"}) {
    EXPECT_GT(object.at(cost).at("seconds").get<double>(), 0.0);
    EXPECT_GT(object.at(cost).at("bytes_per_second").get<double>(), 0.0);
  }
  EXPECT_LE(object.at("stall").at("low"), object.at("write").at("low"));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_EQ(entry.path().filename(), "job.toml");
  }
}

TEST(BenchUnderMpirun, CheckpointSaysWhatIsWrongWithAJob) {
  const Outcome outcome = bench("checkpoint no/such.toml");
  EXPECT_EQ(outcome.code, 78);
  EXPECT_THAT(outcome.output, HasSubstr("no/such.toml: cannot be read"));
  const Outcome folder = bench("checkpoint '' job.dir=/proc/none/run");
  EXPECT_EQ(folder.code, 74);
  EXPECT_THAT(folder.output, HasSubstr("/proc/.ballast-bench-"));
}

TEST(BenchUnderMpirun, PrintsATableOnce) {
  const Outcome outcome = bench("gemm --shapes 8x8x8 --precision f32 --seconds 0.1 --threads 1 2>/dev/null");
  EXPECT_EQ(outcome.code, 0);
  EXPECT_THAT(outcome.output, HasSubstr("2 workers, each cpu: 1 thread"));
  EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 5) << outcome.output;
}

TEST(BenchUnderMpirun, SaysWhatIsWrong) {
  const Outcome outcome = run_program(PROGRAM " bench gemm --shapes 3x4");
  EXPECT_EQ(outcome.code, 64);
  EXPECT_THAT(outcome.output, HasSubstr("'3x4' is not MxNxK"));
}

}  // namespace
}  // namespace ballast
