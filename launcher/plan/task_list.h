// Defines: Traffic, Way, Passage, TaskList: the tasks of one worker and of its node's link, written down in the order
// in which the program does them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launcher/plan/simulation.h"
#include "runtime/job.h"

namespace ballast {

/// Over a node's link.
struct Traffic {
  double out = 0.0, in = 0.0;  ///< bytes
  double messages_out = 0.0, messages_in = 0.0;
  void add(const Traffic& more);
  [[nodiscard]] Traffic times(double factor) const {
    return {factor * out, factor * in, factor * messages_out, factor * messages_in};
  }
};

/// What the two halves of an exchange are called.
struct Way {
  const char *send = "", *receive = "";
  bool urgent = false;  ///< before others on the link
};

/// Tasks of an exchange; -1: there is none.
struct Passage {
  int out = -1, in = -1;
};

class TaskList {
 public:
  /// `cluster` must outlive it.
  explicit TaskList(const ClusterSection& cluster) : cluster_(cluster) {}

  /// Returns its number.
  int add(Task task);
  /// Behind whatever the worker does now, and behind `also`.
  void work(const char* phase, std::string name, double seconds, bool memory, std::vector<int> also = {});
  /// Both directions of the link, as soon as the worker's last task has ended and so many seconds are over; and what
  /// the bytes take of the worker, those that come when they are there.
  Passage exchange(const Way& way, const std::string& name, const Traffic& traffic, double asked = 0.0);

  /// The task that the worker does next begins behind it; -1: none.
  [[nodiscard]] int last() const { return last_; }
  void set_last(int task) { last_ = task; }
  [[nodiscard]] const std::vector<Task>& tasks() const { return tasks_; }

  /// `bytes` of all workers of the node, which are at it together.
  [[nodiscard]] double memory_seconds(double bytes) const { return bytes / cluster_.memory_bandwidth; }
  [[nodiscard]] double link_seconds(double bytes, double messages) const;

 private:
  /// The o of LogGP: `bytes` go through the hands of the node's workers.
  void handle(const std::string& name, double bytes, int after, double delay);

  const ClusterSection& cluster_;
  std::vector<Task> tasks_;
  int last_ = -1;
};

}  // namespace ballast
