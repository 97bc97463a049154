// Whole jobs on a backend whose memory no host code can touch and whose results come at synchronize() only: the same
// bits as on the cpu backend, and checkpoints that either can go on from.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "checkpoints/checkpoint.h"
#include "runtime/evaluator.h"
#include "runtime/generator.h"
#include "runtime/trainer.h"
#include "runtime/weights.h"
#include "tests/support/far_memory_backend.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

std::unique_ptr<Backend> near_backend(const BackendOptions& options) { return make_backend(options); }
std::unique_ptr<Backend> far_backend(const BackendOptions& options) {
  return std::make_unique<FarMemoryBackend>(options.threads);
}

class Recorder final : public Observer {
 public:
  void on_start(const std::string& /*summary*/) override {}
  void on_step(const StepReport& report) override { losses.push_back(report.loss); }
  void on_evaluation(std::int64_t /*step*/, double loss, double /*accuracy*/) override { losses.push_back(loss); }
  void on_checkpoint(const SaveResult& result) override { EXPECT_TRUE(result.ok) << result.message; }
  void on_warning(const std::string& text) override { ADD_FAILURE() << text; }
  void on_notice(const std::string& /*text*/) override {}

  std::vector<double> losses;
};

class FarMemory : public testing::Test {
 protected:
  FarMemory() {
    std::string pattern = testing::TempDir() + "/ballast-far-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~FarMemory() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] JobConfig gpt(const std::string& name, const std::string& precision) const {
    JobConfig config = job(name);
    config.precision.compute = precision;
    config.model = {.name = "gpt", .dropout = 0.1F, .layers = 2, .heads = 2, .width = 32, .context = 16};
    return config;
  }
  [[nodiscard]] JobConfig convnet(const std::string& name) const {
    JobConfig config = job(name);
    config.model = {.name = "convnet", .image_rows = 8, .image_columns = 8, .channels = {4, 8, 8}, .depth = 1};
    return config;
  }

  static std::vector<double> run(const JobConfig& config, const BackendMaker& make) {
    Recorder recorder;
    run_workers(1, [&](Communicator& world) { train(config, "", world, recorder, make); });
    return recorder.losses;
  }
  static Checkpoint checkpoint(const JobConfig& config, std::int64_t step) {
    return Checkpoint::open(real_file_system(), config.job.dir + "/checkpoints/" + checkpoint_name(step));
  }
  /// The statistics of every layer, as the run folder tells them.
  static std::vector<std::string> statistics(const JobConfig& config) {
    std::vector<std::string> lines;
    std::ifstream metrics(config.job.dir + "/metrics.jsonl");
    for (std::string line; std::getline(metrics, line);) {
      if (line.find(R"("event":"layers")") != std::string::npos) lines.push_back(line);
    }
    return lines;
  }
  void expect_same_run(const JobConfig& on_cpu, const JobConfig& on_device) {
    const std::vector<double> losses = run(on_cpu, near_backend);
    ASSERT_EQ(losses.size(), 8U) << "six steps, two evaluations";
    EXPECT_EQ(run(on_device, far_backend), losses);
    EXPECT_EQ(checkpoint(on_device, 6).weights_digest(), checkpoint(on_cpu, 6).weights_digest());
    EXPECT_FALSE(statistics(on_cpu).empty());
    EXPECT_EQ(statistics(on_device), statistics(on_cpu));
  }

 private:
  [[nodiscard]] JobConfig job(const std::string& name) const {
    JobConfig config;
    config.job = {.dir = folder_ + "/" + name, .steps = 6};
    config.data = {.format = "synthetic", .fraction = 0.25, .samples = 64};
    config.batch = {.size = 16, .shards = 4, .micro = 2};
    config.optimizer.clip = 0.5;
    config.compute = {.backend = "cpu", .threads = 1};
    config.evaluate.every = 3;
    config.checkpoint.every_steps = 2;
    config.log = {.every = 1, .statistics = 2};
    return config;
  }

  std::string folder_;
};

TEST_F(FarMemory, KillsHostCodeThatTouchesIt) {
  EXPECT_DEATH(
      {
        FarMemoryBackend backend(1);
        const Buffer buffer(backend, 16, DType::kF32);
        *static_cast<volatile float*>(buffer.span().data) = 1.0F;
      },
      "");
}

TEST_F(FarMemory, TrainsWithTheBitsOfTheCpuBackend) {
  expect_same_run(gpt("gpt-cpu", "f32"), gpt("gpt-far", "f32"));
  expect_same_run(gpt("gpt-bf16-cpu", "bf16"), gpt("gpt-bf16-far", "bf16"));
  expect_same_run(convnet("convnet-cpu"), convnet("convnet-far"));
}

TEST_F(FarMemory, GoesOnFromTheOthersCheckpointWithTheSameBits) {
  const JobConfig whole = gpt("whole", "bf16");
  run(whole, near_backend);
  using Makers = std::pair<BackendMaker, BackendMaker>;
  for (const auto& [first, second] :
       {Makers{far_backend, near_backend}, Makers{near_backend, far_backend}, Makers{far_backend, far_backend}}) {
    JobConfig config = gpt("parts", "bf16");
    std::filesystem::remove_all(config.job.dir);
    config.job.steps = 3;
    run(config, first);
    config.job.steps = 6;
    run(config, second);
    EXPECT_EQ(checkpoint(config, 6).weights_digest(), checkpoint(whole, 6).weights_digest());
  }
}

TEST_F(FarMemory, EveryCheckpointIsOfItsOwnStep) {
  JobConfig config = gpt("kept", "f32");
  run(config, far_backend);
  for (const std::int64_t step : {2, 4}) {
    JobConfig shorter = gpt("shorter" + std::to_string(step), "f32");
    shorter.job.steps = step;
    run(shorter, near_backend);
    EXPECT_EQ(checkpoint(config, step).weights_digest(), checkpoint(shorter, step).weights_digest());
  }
}

TEST_F(FarMemory, WritesCheckpointsInTheForegroundToo) {
  JobConfig config = gpt("foreground", "f32");
  config.checkpoint.background = false;
  expect_same_run(gpt("background", "f32"), config);
}

TEST_F(FarMemory, EvaluatesAndWritesTextWithTheBitsOfTheCpuBackend) {
  const JobConfig config = gpt("trained", "bf16");
  run(config, near_backend);
  const Checkpoint trained = checkpoint(config, 6);
  const auto use = [&](const BackendMaker& make) {
    const auto backend = make({.name = "cpu", .threads = 1});
    Model model = build_model(config.model, DType::kBF16, 4);
    model.allocate(*backend, 1);
    const Weights weights(trained, model, *backend);
    const Datasets data = open_datasets(config.data, model.input(), 1);
    std::pair<double, std::vector<std::int32_t>> result;
    run_workers(1, [&](Communicator& world) {
      result.first = evaluate(model, weights.memory(), *data.validation, 4, 0, world).loss;
    });
    generate(model, weights.memory(), {1, 2, 3}, {.tokens = 20},
             [&](std::int32_t token) { result.second.push_back(token); });
    return result;
  };
  const auto expected = use(near_backend);
  EXPECT_EQ(expected.second.size(), 20U);
  EXPECT_EQ(use(far_backend), expected);
}

TEST_F(FarMemory, RefusesShardingThatItDoesNotDo) {
  for (const char* sharding : {"gradients", "values"}) {
    JobConfig config = gpt("refused", "f32");
    config.comm.sharding = sharding;
    try {
      static_cast<void>(run(config, far_backend));
      ADD_FAILURE() << sharding << " was accepted";
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("with GPUs set comm.sharding = \"optimizer\""), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace ballast
