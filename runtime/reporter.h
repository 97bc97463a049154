// Defines: Reporter: everything a run says, to the observer and the run folder. Silent on every rank but 0, so that the
// training loop need not ask who it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/model.h"
#include "runtime/evaluator.h"
#include "runtime/layer_health.h"
#include "runtime/run_folder.h"

namespace ballast {

class Reporter {
 public:
  struct Options {
    std::int64_t every = 10;       ///< steps between step reports
    std::int64_t statistics = 10;  ///< steps between per-layer statistics
    std::int64_t first_step = 0, total_steps = 0;
    double items_per_sample = 1.0;
    const char* item = "samples";
    double flops_per_sample = 0.0;
    double matmul_flops = 0.0;  ///< a second, of all workers in a large matrix product
  };

  /// `folder` is null on every rank but 0.
  Reporter(Observer& observer, std::unique_ptr<RunFolder> folder, const ParameterTable& parameters,
           const Options& options);

  void start(const std::string& summary);
  void notice(const std::string& text);
  void warning(const std::string& text);

  /// Whether this step's report includes per-layer statistics: the same answer on every rank.
  [[nodiscard]] bool wants_statistics(std::int64_t step) const;
  /// Whether this step's loss is reported: the same answer on every rank.
  [[nodiscard]] bool wants_step(std::int64_t step) const;
  /// `phases`: of the time since the last call.
  void step(std::int64_t step, double loss, const StepOutcome& outcome, std::int64_t samples,
            const PhaseSeconds& phases);
  void statistics(std::int64_t step, const std::vector<ParameterStatistics>& statistics);
  void evaluation(std::int64_t step, const EvaluationResult& result);
  void checkpoint(const SaveResult& result);

 private:
  [[nodiscard]] double seconds_since_start() const;

  Observer& observer_;
  std::unique_ptr<RunFolder> folder_;
  const ParameterTable& parameters_;
  Options options_;
  LayerHealth health_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double last_report_ = 0.0;  // seconds since start
  double paused_ = 0.0;       // seconds spent evaluating since the last report
  PhaseSeconds phases_{};     // since the last report
  std::int64_t samples_ = 0;  // since the last report
  std::int64_t last_step_;
  std::optional<double> validation_loss_, validation_accuracy_;
};

}  // namespace ballast
