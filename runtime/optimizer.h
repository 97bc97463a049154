// Defines: Optimizer, make_optimizer: which update rule, with which state tensors. One file per optimizer in
// runtime/optimizers/.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "compute/update.h"
#include "runtime/job.h"

namespace ballast {

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// Names of the state tensors, as checkpoints hold them: {"m", "v"}. Every parameter has one of each, zero at first.
  [[nodiscard]] virtual std::vector<std::string> states() const = 0;
  /// The rule for `step` (from 1). Regularisation and gradient_scale are filled in by the coordinator.
  [[nodiscard]] virtual UpdateRule rule(std::int64_t step, double lr) const = 0;
};

[[nodiscard]] std::unique_ptr<Optimizer> make_optimizer(const OptimizerSection& config);

/// Learning rate of `step` (from 1) of `total`.
[[nodiscard]] double learning_rate(const ScheduleSection& schedule, double lr, std::int64_t step, std::int64_t total);

}  // namespace ballast
