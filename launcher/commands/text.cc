#include <cstdio>

#include "launcher/commands/commands.h"

namespace ballast {

ExitCode run(const TextCommand& command, Process&) {
  std::fputs(command.text.c_str(), stdout);
  return ExitCode::kOk;
}

}  // namespace ballast
