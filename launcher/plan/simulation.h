// Defines: Resource, Task, TimedTask, Timeline, simulate: a discrete-event simulation of tasks that wait for each other
// and share resources. Knows nothing of training.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ballast {

/// Serves one task at a time, in the order in which they become ready; urgent ones first.
enum class Resource : std::uint8_t { kWorker, kLinkOut, kLinkIn };
constexpr std::size_t kResources = 3;

struct Task {
  const char* phase = "";  ///< what it is part of: "forward", "send sums"
  std::string name;        ///< which: an operation, a bucket
  Resource resource = Resource::kWorker;
  double seconds = 0.0;
  std::vector<int> after;  ///< earlier tasks that must have ended
  double delay = 0.0;      ///< ... for so many seconds: a message on its way
  double bytes = 0.0;      ///< that it moves over a link
  double messages = 0.0;   ///< in so many messages
  bool memory = false;     ///< bound by memory, not by arithmetic
  bool urgent = false;     ///< its resource serves it before those that are not
};

struct TimedTask {
  double begin = 0.0, end = 0.0;
  /// The task that it began right behind: the last it waited for, or its resource's last one. -1: none.
  int cause = -1;
};

struct Timeline {
  std::vector<TimedTask> tasks;  ///< as given

  /// Tasks that made `last` end when it did, each the next one's cause, in order of time.
  [[nodiscard]] std::vector<int> critical_path(int last) const;
};

/// A task may wait for tasks before it only, so that none waits in a circle. Of two that are ready since the same
/// moment the first one given is served first: equal inputs have equal timelines.
[[nodiscard]] Timeline simulate(const std::vector<Task>& tasks);

}  // namespace ballast
