// Defines: Recorder, TrainerTest: small jobs in a folder of their own, with threads as workers.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "runtime/trainer.h"
#include "tests/support/thread_workers.h"

namespace ballast {

/// Remembers what it was told.
class Recorder : public Observer {
 public:
  void on_start(const std::string& /*summary*/) override {}
  void on_step(const StepReport& report) override { losses.push_back(report.loss); }
  void on_evaluation(std::int64_t /*step*/, double loss, double /*accuracy*/) override { evaluations.push_back(loss); }
  void on_checkpoint(const SaveResult& result) override { saves.push_back(result); }
  void on_warning(const std::string& text) override { warnings.push_back(text); }
  void on_notice(const std::string& text) override { notices.push_back(text); }

  std::vector<double> losses, evaluations;
  std::vector<SaveResult> saves;
  std::vector<std::string> warnings, notices;
};

class TrainerTest : public testing::Test {
 protected:
  TrainerTest() {
    std::string pattern = testing::TempDir() + "/ballast-trainer-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~TrainerTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] JobConfig job(const std::string& name) const {
    JobConfig config;
    config.job = {.dir = folder_ + "/" + name, .steps = 6};
    config.model = {.name = "mlp", .dropout = 0.1F, .features = 12, .hidden = {16}, .classes = 4};
    config.data = {.format = "synthetic", .fraction = 0.25, .samples = 64};
    config.batch = {.size = 20, .shards = 4};  // 48 training samples: every third batch is short
    config.optimizer.clip = 0.5;
    config.comm.bucket_mib = 0.0001;
    config.compute.threads = 1;
    config.log.every = 1;
    return config;
  }

  static RunResult run(const JobConfig& config, int workers, Recorder& recorder) {
    return run(config, workers, workers, recorder);
  }
  static RunResult run(const JobConfig& config, int workers, int workers_per_node, Recorder& recorder) {
    RunResult result;
    run_workers(workers, workers_per_node, [&](Communicator& world) {
      const RunResult mine = train(config, "", world, recorder);
      if (world.rank() == 0) result = mine;
    });
    return result;
  }

  static std::string digest(const JobConfig& config, std::int64_t step) {
    return Checkpoint::open(real_file_system(), config.job.dir + "/checkpoints/" + checkpoint_name(step))
        .weights_digest();
  }

  std::string folder_;
};

}  // namespace ballast
