// Implements learning_rate of runtime/optimizer.h.
//
// Legend: t = step from 1, w = warm-up steps, T = total steps, r = lr.
//   t <= w     r t / w
//   constant   r
//   step       r factor^floor((t - w - 1) / every)
//   cosine     r (f + (1 - f) (1 + cos(pi (t - w) / (T - w))) / 2), f = final fraction     (Loshchilov and Hutter 2017)
#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/optimizer.h"

namespace ballast {
namespace {

double cosine(const ScheduleSection& schedule, std::int64_t step, std::int64_t total) {
  const auto remaining = static_cast<double>(std::max<std::int64_t>(1, total - schedule.warmup));
  const double progress = std::min(1.0, static_cast<double>(step - schedule.warmup) / remaining);
  const double fall = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return schedule.final_fraction + (1.0 - schedule.final_fraction) * fall;
}

}  // namespace

double learning_rate(const ScheduleSection& schedule, double lr, std::int64_t step, std::int64_t total) {
  require(step >= 1, "steps count from 1");
  if (schedule.name != "constant" && schedule.name != "step" && schedule.name != "cosine") {
    throw ConfigError("schedule.name = \"" + schedule.name + "\" is unknown; known: constant, step, cosine");
  }
  if (step <= schedule.warmup) return lr * static_cast<double>(step) / static_cast<double>(schedule.warmup);
  if (schedule.name == "cosine") return lr * cosine(schedule, step, total);
  if (schedule.name == "constant") return lr;
  require(schedule.every > 0, "schedule.every must be positive");
  const std::int64_t drops = (step - schedule.warmup - 1) / schedule.every;
  return lr * std::pow(schedule.factor, static_cast<double>(drops));
}

}  // namespace ballast
