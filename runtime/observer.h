// Defines: StepReport, Observer: what a running job tells whoever watches it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "checkpoints/checkpoint.h"
#include "runtime/phase_clock.h"

namespace ballast {

struct StepReport {
  std::int64_t step = 0, total_steps = 0;
  double loss = 0.0;           ///< mean over the step's global batch, nats
  double gradient_norm = 0.0;  ///< global, before clipping
  double lr = 0.0;
  double items_per_second = 0.0;  ///< since the last report, all workers together
  const char* item = "samples";   ///< "tokens" | "samples"
  double matmul_share = 0.0;  ///< floating-point operations a second over what a large matrix product reached at start
  PhaseSeconds phases{};      ///< of a step, mean since the last report, on the reporting worker
  double eta_seconds = 0.0;
  std::optional<double> validation_loss, validation_accuracy;  ///< of the latest evaluation
};

/// Called on rank 0 only, from the training thread, between steps.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void on_start(const std::string& summary) = 0;
  virtual void on_step(const StepReport& report) = 0;
  virtual void on_evaluation(std::int64_t step, double loss, double accuracy) = 0;
  virtual void on_checkpoint(const SaveResult& result) = 0;
  virtual void on_warning(const std::string& text) = 0;
  virtual void on_notice(const std::string& text) = 0;
};

}  // namespace ballast
