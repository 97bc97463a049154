#include "launcher/plan/simulation.h"

#include <algorithm>
#include <array>
#include <functional>
#include <queue>
#include <tuple>
#include <utility>

#include "compute/error.h"

namespace ballast {
namespace {

/// A task becomes ready (`ends` false) or ends. Ends come first at any moment: they free what a ready task needs.
struct Event {
  double time = 0.0;
  bool ends = false;
  int task = 0;
  bool operator>(const Event& other) const {
    return std::tuple(time, !ends, task) > std::tuple(other.time, !other.ends, other.task);
  }
};

template <typename T>
using EarliestFirst = std::priority_queue<T, std::vector<T>, std::greater<>>;

class Run {
 public:
  explicit Run(const std::vector<Task>& tasks) : tasks_(tasks), waits_for_(tasks.size()), followers_(tasks.size()) {
    timeline_.tasks.resize(tasks.size());
    for (std::size_t i = 0; i < tasks.size(); ++i) add(static_cast<int>(i));
  }

  Timeline finish() {
    while (!events_.empty()) {
      now_ = events_.top().time;
      while (!events_.empty() && events_.top().time == now_) {
        const Event event = events_.top();
        events_.pop();
        event.ends ? end(event.task) : queue_of(event.task).push({!task(event.task).urgent, now_, event.task});
      }
      for (std::size_t r = 0; r < kResources; ++r) serve(r);
    }
    return std::move(timeline_);
  }

 private:
  using Ready = std::tuple<bool, double, int>;  // not urgent, ready since, task
  struct Server {
    EarliestFirst<Ready> queue;
    bool busy = false;
    int last = -1;
  };

  [[nodiscard]] const Task& task(int index) const { return tasks_[static_cast<std::size_t>(index)]; }
  [[nodiscard]] Server& server_of(int index) { return servers_[static_cast<std::size_t>(task(index).resource)]; }
  EarliestFirst<Ready>& queue_of(int index) { return server_of(index).queue; }

  void add(int index) {
    for (const int before : task(index).after) {
      require(0 <= before && before < index, "simulate: a task waits for one that is not before it");
      followers_[static_cast<std::size_t>(before)].push_back(index);
    }
    waits_for_[static_cast<std::size_t>(index)] = static_cast<int>(task(index).after.size());
    if (task(index).after.empty()) events_.push({task(index).delay, false, index});
  }

  void end(int index) {
    server_of(index).busy = false;
    for (const int follower : followers_[static_cast<std::size_t>(index)]) {
      if (--waits_for_[static_cast<std::size_t>(follower)] > 0) continue;
      timeline_.tasks[static_cast<std::size_t>(follower)].cause = index;
      events_.push({now_ + task(follower).delay, false, follower});
    }
  }

  void serve(std::size_t resource) {
    Server& server = servers_[resource];
    if (server.busy || server.queue.empty()) return;
    const auto [later, since, index] = server.queue.top();
    server.queue.pop();
    TimedTask& timed = timeline_.tasks[static_cast<std::size_t>(index)];
    timed.begin = now_;
    timed.end = now_ + task(index).seconds;
    if (since < now_) timed.cause = server.last;
    server.busy = true;
    server.last = index;
    events_.push({timed.end, true, index});
  }

  const std::vector<Task>& tasks_;
  std::vector<int> waits_for_;  // by task: predecessors that have not ended
  std::vector<std::vector<int>> followers_;
  std::array<Server, kResources> servers_;
  EarliestFirst<Event> events_;
  double now_ = 0.0;
  Timeline timeline_;
};

}  // namespace

std::vector<int> Timeline::critical_path(int last) const {
  std::vector<int> path;
  for (int at = last; at >= 0; at = tasks[static_cast<std::size_t>(at)].cause) path.push_back(at);
  std::reverse(path.begin(), path.end());
  return path;
}

Timeline simulate(const std::vector<Task>& tasks) { return Run(tasks).finish(); }

}  // namespace ballast
