// Defines: EarlyStopping: stop when the validation loss has not improved for `patience` evaluations (Prechelt 1998).
#pragma once

#include <cstdint>
#include <limits>

#include "checkpoints/checkpoint.h"

namespace ballast {

class EarlyStopping {
 public:
  /// patience 0: never stops.
  explicit EarlyStopping(std::int64_t patience) : patience_(patience) {}

  /// True when `loss` is the best so far.
  bool improved(std::int64_t step, double loss) {
    if (loss < best_) {
      best_ = loss;
      best_step_ = step;
      without_improvement_ = 0;
      return true;
    }
    ++without_improvement_;
    return false;
  }
  [[nodiscard]] bool active() const { return patience_ > 0; }
  [[nodiscard]] bool stop() const { return active() && without_improvement_ >= patience_; }
  [[nodiscard]] std::int64_t best_step() const { return best_step_; }
  [[nodiscard]] double best() const { return best_; }

  void write_to(TrainingState& state) const {
    state.numbers["early.best"] = best_;
    state.numbers["early.best_step"] = static_cast<double>(best_step_);
    state.numbers["early.without_improvement"] = static_cast<double>(without_improvement_);
  }
  void read_from(const TrainingState& state) {
    best_ = state.numbers.at("early.best");
    best_step_ = static_cast<std::int64_t>(state.numbers.at("early.best_step"));
    without_improvement_ = static_cast<std::int64_t>(state.numbers.at("early.without_improvement"));
  }

 private:
  std::int64_t patience_;
  double best_ = std::numeric_limits<double>::max();
  std::int64_t best_step_ = 0;
  std::int64_t without_improvement_ = 0;
};

}  // namespace ballast
