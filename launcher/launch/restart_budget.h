// Defines: RestartBudget, pause_before: how often, and how soon, a job that keeps dying is started again.
#pragma once

#include <algorithm>
#include <cmath>

namespace ballast {

/// Seconds before attempt `count` (1, 2, ...) in a row: none before the first, then 1, 2, 4, ... at most 60.
[[nodiscard]] inline double pause_before(int count) {
  constexpr double kLongest = 60.0;
  return count <= 1 ? 0.0 : std::min(kLongest, std::exp2(std::min(count - 2, 10)));
}

/// Counts restarts in a row that led to no new checkpoint. A job that gets on may be restarted for ever: it will end.
class RestartBudget {
 public:
  explicit RestartBudget(int limit) : limit_(limit) {}
  void progressed() { used_ = 0; }
  /// One more restart; false when none is left.
  [[nodiscard]] bool spend() { return used_ < limit_ && ++used_ > 0; }
  [[nodiscard]] int used() const { return used_; }
  [[nodiscard]] int limit() const { return limit_; }

 private:
  int limit_;
  int used_ = 0;
};

}  // namespace ballast
