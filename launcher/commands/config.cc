#include "launcher/config.h"

#include <cstdio>

#include "launcher/commands/commands.h"
#include "launcher/reference.h"

namespace ballast {

ExitCode run(const ConfigCommand& command, Process&) {
  if (command.defaults && command.markdown) {
    throw Error("config: --defaults and --markdown exclude each other", ExitCode::kUsage);
  }
  std::string text;
  if (command.defaults) {
    text = commented_defaults();
  } else if (command.markdown) {
    text = config_markdown();
  } else {
    text = print_config(load_config(command.job, {command.overrides, process_environment()}));
  }
  std::fputs(text.c_str(), stdout);
  return ExitCode::kOk;
}

}  // namespace ballast
