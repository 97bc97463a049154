// Defines: StepPrediction, predict_between: what a simulation tells about a step.
#pragma once

#include <cstdint>
#include <vector>

#include "launcher/plan/simulation.h"
#include "launcher/plan/task_list.h"

namespace ballast {

struct StepPrediction {
  double seconds = 0.0;
  double worker_seconds = 0.0;             ///< of these the worker computes, adds and updates; it waits in the others
  double link_out_seconds = 0.0;           ///< ... the link sends
  double bytes_out = 0.0, bytes_in = 0.0;  ///< of the node's link in a step
  double messages_out = 0.0;
  /// What the step's length consists of: neighbours of one phase are one entry.
  struct Stretch {
    const char* phase = "";
    double seconds = 0.0;
  };
  std::vector<Stretch> critical_path;
  /// Of `seconds`, those in which the worker waits for the network.
  [[nodiscard]] double exposed_seconds() const { return seconds - worker_seconds; }

  /// The tasks, times from 0. With [outer] all of the above is the mean of so many steps, which these are of.
  std::int64_t steps = 1;
  std::vector<Task> tasks;
  std::vector<TimedTask> times;
};

/// Simulates the list. The prediction lies between the ends of tasks `from` and `to`.
[[nodiscard]] StepPrediction predict_between(const TaskList& list, int from, int to);

}  // namespace ballast
