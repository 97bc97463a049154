// Defines: parse_command_line. Wraps CLI11.
#pragma once

#include <string>
#include <vector>

#include "launcher/commands/commands.h"

namespace ballast {

/// `arguments` without the program's name. Throws Error(kUsage) with one line for anything that is not a command line.
[[nodiscard]] Command parse_command_line(std::vector<std::string> arguments);

}  // namespace ballast
