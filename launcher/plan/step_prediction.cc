#include "launcher/plan/step_prediction.h"

#include <algorithm>
#include <cstring>

namespace ballast {
namespace {

/// Neighbouring tasks of one phase, as far as they lie behind `begin`. Time between a task's cause and its begin is
/// a message's way.
std::vector<StepPrediction::Stretch> stretches(const std::vector<Task>& tasks, const Timeline& timeline, double begin,
                                               int last) {
  std::vector<StepPrediction::Stretch> path;
  const auto add = [&](const char* phase, double seconds) {
    if (seconds <= 0.0) return;
    if (path.empty() || std::strcmp(path.back().phase, phase) != 0) path.push_back({phase, 0.0});
    path.back().seconds += seconds;
  };
  double at = begin;
  for (const int index : timeline.critical_path(last)) {
    const TimedTask& timed = timeline.tasks[static_cast<std::size_t>(index)];
    if (timed.end <= begin) continue;
    add("latency", std::max(timed.begin, begin) - at);
    add(tasks[static_cast<std::size_t>(index)].phase, timed.end - std::max(timed.begin, begin));
    at = timed.end;
  }
  return path;
}

/// What happens in [begin, end), with times from `begin`.
void cut_out(const std::vector<Task>& tasks, const Timeline& timeline, double begin, double end, StepPrediction& step) {
  for (std::size_t i = 0; i < timeline.tasks.size(); ++i) {
    const TimedTask& timed = timeline.tasks[i];
    const double from = std::max(timed.begin, begin), to = std::min(timed.end, end);
    if (to <= from) continue;
    if (tasks[i].resource == Resource::kWorker) step.worker_seconds += to - from;
    if (tasks[i].resource == Resource::kLinkOut) step.link_out_seconds += to - from;
    step.tasks.push_back(tasks[i]);
    step.times.push_back({from - begin, to - begin, timed.cause});
  }
}

/// Of the tasks as they were written down.
void count_traffic(const std::vector<Task>& tasks, int from, int to, StepPrediction& step) {
  for (int i = from + 1; i <= to; ++i) {
    const Task& task = tasks[static_cast<std::size_t>(i)];
    if (task.resource == Resource::kLinkIn) step.bytes_in += task.bytes;
    if (task.resource != Resource::kLinkOut) continue;
    step.bytes_out += task.bytes;
    step.messages_out += task.messages;
  }
}

}  // namespace

StepPrediction predict_between(const TaskList& list, int from, int to) {
  const Timeline timeline = simulate(list.tasks());
  const double begin = timeline.tasks[static_cast<std::size_t>(from)].end;
  const double end = timeline.tasks[static_cast<std::size_t>(to)].end;
  StepPrediction step{.seconds = end - begin};
  step.critical_path = stretches(list.tasks(), timeline, begin, to);
  cut_out(list.tasks(), timeline, begin, end, step);
  count_traffic(list.tasks(), from, to, step);
  return step;
}

}  // namespace ballast
