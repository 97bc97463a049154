// Defines: BackgroundTask: one piece of work at a time on a thread of its own, whose failure is a text.
#pragma once

#include <atomic>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>

namespace ballast {

struct TaskReport {
  std::string error;  ///< empty: it succeeded
  std::string result;
  double seconds = 0.0;  ///< that the work took
};

class BackgroundTask {
 public:
  using Work = std::function<std::string(std::stop_token)>;

  /// Runs the work on a thread, or right here when `background` is false or no thread can be had. Not while another
  /// runs.
  void start(const Work& work, bool background);
  [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }
  void wait();
  /// Only when done.
  [[nodiscard]] const TaskReport& report() const { return report_; }

 private:
  void run(const Work& work, const std::stop_token& stop);

  TaskReport report_;
  std::atomic<bool> done_{true};
  std::jthread thread_;  // last: it stops and joins before the rest goes
};

}  // namespace ballast
