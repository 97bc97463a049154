#include "launcher/launch/host_commands.h"

#include <csignal>

namespace ballast {

void HostCommands::start(const std::vector<std::vector<std::string>>& commands, double deadline) {
  constexpr int kNoOutput = -1;
  answered_.assign(commands.size(), true);
  deadline_ = deadline;
  for (std::size_t host = 0; host < commands.size(); ++host) {
    if (commands[host].empty()) continue;
    answered_[host] = false;
    under_way_.push_back({children_.start(commands[host], kNoOutput, SIGKILL), host});
  }
}

std::optional<std::vector<bool>> HostCommands::poll(double now) {
  std::erase_if(under_way_, [&](const Command& command) {
    const std::optional<Children::End> end = children_.ended(command.child);
    if (end) answered_[command.host] = end->code == 0;
    return end.has_value();
  });
  if (!under_way_.empty() && now < deadline_) return std::nullopt;
  for (const Command& late : under_way_) kill(late.child, SIGKILL);
  under_way_.clear();
  return answered_;
}

}  // namespace ballast
