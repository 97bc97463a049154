// Defines: HostCommands: one command on each of several hosts at once, with a limit of time.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/launch/children.h"

namespace ballast {

/// A host whose command ended with 0 in time has answered; one that did not is not waited for.
class HostCommands {
 public:
  explicit HostCommands(Children& children) : children_(children) {}

  /// `commands[i]` for host i; an empty one counts as answered. None may be under way. `deadline`: as in poll().
  void start(const std::vector<std::vector<std::string>>& commands, double deadline);
  /// Which hosts have answered, once that is known of all; `now` in seconds of any clock.
  [[nodiscard]] std::optional<std::vector<bool>> poll(double now);
  /// Whether some are under way.
  [[nodiscard]] bool busy() const { return !under_way_.empty(); }
  /// After Children::kill_all().
  void forget() { under_way_.clear(); }

 private:
  struct Command {
    pid_t child;
    std::size_t host;
  };
  Children& children_;
  std::vector<Command> under_way_;
  std::vector<bool> answered_;
  double deadline_ = 0.0;
};

}  // namespace ballast
