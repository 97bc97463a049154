#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/launcher/run_program.h"

namespace ballast {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Outcome ballast(const std::string& arguments) { return run_program(std::string(PROGRAM) + ' ' + arguments); }

std::set<std::string> keys_of(const json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

constexpr const char* kJob = R"(
[job]
steps = 6
[model]
hidden = [8]
features = 12
classes = 3
[data]
samples = 64
[batch]
size = 8
shards = 2
[evaluate]
batches = 1
[checkpoint]
every = 4
)";

// A finished run of a small perceptron.
class Program : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    std::ofstream(job()) << kJob;
    trained_ = ballast("train " + job() + " job.dir=" + run());
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string job() { return folder_->path() + "/job.toml"; }
  static std::string run() { return folder_->path() + "/run"; }
  static std::string newest() { return run() + "/checkpoints/step-000000000006"; }

  // A copy of the run with one byte of a file of its newest checkpoint flipped.
  static std::string damaged_copy(const std::string& file) {
    const std::string copy = folder_->path() + "/damaged";
    std::filesystem::remove_all(copy);
    std::filesystem::copy(run(), copy, std::filesystem::copy_options::recursive);
    const std::string path = copy + "/checkpoints/step-000000000006/" + file;
    std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(path) / 2);
    stream.seekg(middle);
    const char byte = static_cast<char>(stream.get() ^ 1);
    stream.seekp(middle);
    stream.put(byte);
    return copy;
  }

  inline static std::unique_ptr<TemporaryFolder> folder_;
  inline static Outcome trained_;
};

TEST_F(Program, UsageErrorsAreOneLineAndExitCode64) {
  for (const char* arguments : {"", "trian job.toml", "train", "verify", "eval x --jsn", "plan x --workers none",
                                "help nonsense", "config --defaults --markdown"}) {
    const Outcome outcome = ballast(arguments);
    EXPECT_EQ(outcome.code, 64) << arguments;
    EXPECT_THAT(outcome.output, StartsWith("ballast: "));
    EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
  }
}

TEST_F(Program, HelpAndVersionSucceed) {
  for (const char* arguments :
       {"--help", "-h", "help", "help train", "train --help", "help optimizer.lr", "--version", "version"}) {
    EXPECT_EQ(ballast(arguments).code, 0) << arguments;
  }
  EXPECT_THAT(ballast("--version").output, StartsWith("ballast "));
}

TEST_F(Program, BadConfigurationsAreExitCode78) {
  const Outcome missing = ballast("train no/such.toml");
  EXPECT_EQ(missing.code, 78);
  EXPECT_EQ(missing.output,
            "ballast: no/such.toml: cannot be read: No such file or directory; name a job file, see examples/\n");
  const Outcome two = ballast("train " + job() + " batch.size=7 optimizer.lrr=1");
  EXPECT_EQ(two.code, 78);
  EXPECT_THAT(two.output,
              StartsWith("ballast: 2 mistakes in the configuration:\nargument 'optimizer.lrr=1': unknown key"));
  EXPECT_EQ(ballast("plan " + job() + " --workers 3").code, 78);
  EXPECT_EQ(run_program("BALLAST_OPTIMIZER_LR=fast " PROGRAM " config").code, 78);
}

TEST_F(Program, PrintsAResolvedJobFileThatItCanRead) {
  const Outcome first = ballast("config " + job() + " optimizer.lr=0.5");
  EXPECT_EQ(first.code, 0);
  EXPECT_THAT(first.output, HasSubstr("lr = 0.5\n"));
  std::ofstream(folder_->path() + "/again.toml") << first.output;
  EXPECT_EQ(ballast("config " + folder_->path() + "/again.toml").output, first.output);
  std::ofstream(folder_->path() + "/defaults.toml") << ballast("config --defaults").output;
  EXPECT_EQ(ballast("config " + folder_->path() + "/defaults.toml").output, ballast("config").output);
}

TEST_F(Program, TrainsInWholeLinesWithoutATerminal) {
  EXPECT_EQ(trained_.code, 0) << trained_.output;
  EXPECT_THAT(trained_.output, HasSubstr("\nstep 6/6  loss "));
  EXPECT_THAT(trained_.output, HasSubstr("\ncheckpoint of step 6 saved: "));
  EXPECT_THAT(trained_.output, Not(HasSubstr("\r")));
}

TEST_F(Program, TheRunFolderHoldsTheResolvedJobFile) {
  const Outcome resolved = ballast("config " + job() + " job.dir=" + run());
  std::ifstream file(run() + "/config.toml");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), resolved.output);
}

TEST_F(Program, VerifyFindsASoundCheckpointOnEveryPath) {
  const Outcome text = ballast("verify " + run());
  EXPECT_EQ(text.code, 0);
  EXPECT_THAT(text.output, StartsWith(newest() + ": sound\n  step 6, "));
  const json report = json::parse(ballast("verify --json " + newest() + "/").output);
  EXPECT_EQ(keys_of(report),
            (std::set<std::string>{"ok", "checkpoint", "step", "digest", "tensors", "bytes", "files"}));
  EXPECT_EQ(report["ok"], true);
  EXPECT_EQ(report["step"], 6);
  EXPECT_EQ(report["digest"].get<std::string>().size(), 32U);
  EXPECT_EQ(json::parse(ballast("verify --json " + run() + "/checkpoints").output), report);
}

TEST_F(Program, VerifyRefusesAFlippedByteInEveryFile) {
  for (const char* file : {"weights.h5", "optimizer.h5", "state", "manifest.json"}) {
    const std::string copy = damaged_copy(file);
    const Outcome text = ballast("verify " + copy);
    EXPECT_EQ(text.code, 65) << file;
    EXPECT_THAT(text.output, HasSubstr(std::string("step-000000000006/") + file));
    const Outcome machine = ballast("verify --json " + copy + " 2>/dev/null");
    EXPECT_EQ(machine.code, 65) << file;
    EXPECT_EQ(json::parse(machine.output)["ok"], false);
  }
}

TEST_F(Program, VerifyOfNothingIsExitCode65) {
  EXPECT_EQ(ballast("verify " + folder_->path() + "/none").code, 65);
  EXPECT_EQ(ballast("verify " + folder_->path()).code, 65);
  const json report = json::parse(ballast("verify --json " + folder_->path() + "/none").output);
  EXPECT_EQ(report["ok"], false);
  EXPECT_TRUE(report["step"].is_null());
  EXPECT_THAT(report["error"].get<std::string>(), HasSubstr("/none: there is no such checkpoint or run folder"));
}

TEST_F(Program, EvalUsesAnOlderCheckpointWhereTheNewestIsDamaged) {
  const json sound = json::parse(ballast("eval --json " + run()).output);
  EXPECT_EQ(keys_of(sound), (std::set<std::string>{"checkpoint", "step", "loss", "accuracy", "samples"}));
  EXPECT_EQ(sound["step"], 6);
  const Outcome older = ballast("eval " + damaged_copy("weights.h5"));
  EXPECT_EQ(older.code, 0);
  EXPECT_THAT(older.output, HasSubstr("warning: "));
  EXPECT_THAT(older.output, HasSubstr("\n  step 4, "));
  EXPECT_EQ(ballast("eval " + damaged_copy("weights.h5") + "/checkpoints/step-000000000006").code, 65);
}

TEST_F(Program, EvalTakesSettings) {
  EXPECT_EQ(ballast("eval " + run() + " data.validation=0").code, 78);
  EXPECT_EQ(ballast("eval " + run() + " data.validaton=0").code, 78);
}

TEST_F(Program, EvalMeasuresEverythingUnlessToldOtherwise) {
  const std::string quarter = "eval --json " + run() + " data.validation=0.25";
  EXPECT_EQ(json::parse(ballast(quarter).output)["samples"], 16);
  EXPECT_EQ(json::parse(ballast(quarter + " evaluate.batches=1").output)["samples"], 8);
}

TEST_F(Program, InspectShowsTensorsByPattern) {
  const json all = json::parse(ballast("inspect --json --optimizer --state " + run()).output);
  EXPECT_EQ(keys_of(all), (std::set<std::string>{"checkpoint", "step", "tensors", "state"}));
  const json weights = json::parse(ballast("inspect --json " + run()).output)["tensors"];
  EXPECT_EQ(all["tensors"].size(), weights.size() * 3) << "adamw keeps two states";
  std::int64_t elements = 0;
  for (const json& tensor : weights) elements += tensor["elements"].get<std::int64_t>();
  EXPECT_EQ(elements, 12 * 8 + 8 + 8 * 3 + 3);
  EXPECT_EQ(keys_of(weights[0]), (std::set<std::string>{"name", "file", "shape", "dtype", "elements", "not_finite",
                                                        "norm", "min", "max", "mean", "histogram"}));
  const Outcome one = run_program("LC_ALL=C " PROGRAM " inspect " + run() + " --tensor '*.bias' --optimizer");
  EXPECT_EQ(one.code, 0);
  EXPECT_THAT(one.output, HasSubstr("\n6 tensors, 33 elements, 132 B, norm "));
  EXPECT_THAT(one.output, Not(HasSubstr("\xE2\x96")));
  EXPECT_THAT(run_program("LC_ALL=C.UTF-8 " PROGRAM " inspect " + run()).output, HasSubstr("█"));
  EXPECT_EQ(ballast("inspect " + run() + " --tensor nothing").code, 64);
}

TEST_F(Program, PlanSpeaksOfTheSameWeightsAsTheCheckpoint) {
  const json plan = json::parse(ballast("plan --json " + job() + " --workers 2").output);
  EXPECT_EQ(keys_of(plan),
            (std::set<std::string>{"model", "workers", "shards", "micro", "parameters", "tensors", "flops_per_step",
                                   "memory_bytes", "wire_bytes_per_step", "checkpoint_bytes"}));
  EXPECT_EQ(plan["parameters"], 12 * 8 + 8 + 8 * 3 + 3);
  EXPECT_EQ(plan["checkpoint_bytes"], 3 * 4 * (12 * 8 + 8 + 8 * 3 + 3));
  EXPECT_GT(plan["wire_bytes_per_step"], 0);
  EXPECT_THAT(ballast("plan --verbose " + job()).output, HasSubstr("Operations:"));
}

TEST_F(Program, PlanPredictsAStepOnADescribedCluster) {
  const std::string cluster = " cluster.nodes=2 cluster.flops=1e10 cluster.memory_bandwidth=1e10 cluster.memory_gib=1";
  const std::string svg = run() + ".svg";
  const json plan = json::parse(ballast("plan --json " + job() + cluster + " --tokens 1000 --svg " + svg).output);
  EXPECT_EQ(
      keys_of(plan["forecast"]),
      (std::set<std::string>{"cluster", "step", "item", "items_per_second", "levels", "bucket_auto", "buckets",
                             "best_bucket", "scaling", "checkpoint", "budget", "node_memory", "fits", "remedies"}));
  EXPECT_EQ(plan["workers"], 2);
  EXPECT_EQ(plan["forecast"]["scaling"].size(), 15U);
  EXPECT_TRUE(std::filesystem::exists(svg));
  EXPECT_THAT(ballast("plan " + job() + cluster).output, HasSubstr("critical path: "));
  EXPECT_EQ(ballast("plan " + job() + " --tokens 1000").code, 78) << "no cluster";
  EXPECT_EQ(ballast("plan " + job() + cluster + " --workers 2").code, 78) << "two numbers of workers";
}

// No plugin lies in that folder, on whatever machine this runs: the loader says so.
TEST_F(Program, CudaWithoutItsPluginIsExitCode78AndTheLoadersWords) {
  const std::string nowhere = " compute.plugins=" + folder_->path() + "/none";
  const Outcome outcome =
      ballast("train " + job() + " job.dir=" + folder_->path() + "/cuda compute.backend=cuda" + nowhere);
  EXPECT_EQ(outcome.code, 78);
  EXPECT_THAT(outcome.output, StartsWith("ballast: compute.backend = \"cuda\" but "));
  EXPECT_THAT(outcome.output, HasSubstr("/none/ballast_cuda.so: cannot open shared object file"));
  EXPECT_EQ(std::count(outcome.output.begin(), outcome.output.end(), '\n'), 1) << outcome.output;
  EXPECT_EQ(ballast("eval " + run() + " compute.backend=cuda" + nowhere).code, 78);
  EXPECT_EQ(run_program("BALLAST_COMPUTE_PLUGINS=/none " PROGRAM " bench gemm --backend cuda").code, 78);
}

TEST_F(Program, AutoWithoutPluginsTrainsOnTheProcessor) {
  const Outcome outcome =
      ballast("train " + job() + " job.dir=" + folder_->path() + "/auto compute.plugins=" + folder_->path() + "/none");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("(cpu: "));
  EXPECT_THAT(outcome.output, Not(HasSubstr("warning"))) << "no device, nothing to warn of";
}

TEST_F(Program, DoctorSaysWhatIsHereAndWhyThereIsNotMore) {
  const std::string nowhere = " compute.plugins=" + folder_->path() + "/none";
  const Outcome text = ballast("doctor" + nowhere);
  EXPECT_EQ(text.code, 0) << text.output;
  for (const char* word : {"Ballast", "MPI", "cpu: ", "memory", "rank", "cores", "A job computes here on: cpu"}) {
    EXPECT_THAT(text.output, HasSubstr(word));
  }
  EXPECT_THAT(text.output, HasSubstr("/none/ballast_cuda.so: cannot open shared object file"));
  EXPECT_THAT(text.output, HasSubstr("/none/ballast_nccl.so: cannot open shared object file"));
  const json report = json::parse(ballast("doctor --json" + nowhere).output);
  EXPECT_EQ(keys_of(report),
            (std::set<std::string>{"version", "mpi", "cpu", "memory_bytes", "available_bytes", "workers", "backend",
                                   "backend_note", "plugins", "devices", "driver", "toolkit", "library",
                                   "devices_problem", "transport", "transport_problem"}));
  EXPECT_EQ(report["plugins"], folder_->path() + "/none");
  EXPECT_EQ(report["backend"], "cpu");
  EXPECT_TRUE(report["backend_note"].is_null());
  EXPECT_TRUE(report["transport"].is_null());
  ASSERT_EQ(report["workers"].size(), 1U);
  EXPECT_GT(report["workers"][0]["cores"], 0);
  EXPECT_TRUE(report["workers"][0]["device"].is_null());
}

TEST_F(Program, DoctorIsNotIllWhereAJobWouldFail) {
  const Outcome outcome = ballast("doctor compute.backend=cuda compute.plugins=" + folder_->path() + "/none");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("A job ends here: compute.backend = \"cuda\" but there is no device on "));
}

TEST_F(Program, GenerateNeedsAModelOfText) {
  const Outcome outcome = ballast("generate " + run());
  EXPECT_EQ(outcome.code, 78);
  EXPECT_THAT(outcome.output, HasSubstr("holds a mlp, which writes no text"));
}

}  // namespace
}  // namespace ballast
