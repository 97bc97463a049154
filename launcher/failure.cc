#include "launcher/failure.h"

#include <algorithm>
#include <cstdio>
#include <string>

namespace ballast {

void print_failure(const Error& error) {
  const std::string message = error.what();
  const auto lines = std::count(message.begin(), message.end(), '\n') + 1;
  std::string text = "ballast: ";
  if (lines > 1) text += std::to_string(lines) + " mistakes in the configuration:\n";
  text += message;
  if (error.code() == ExitCode::kInternal) {
    text += " (" + std::string(error.where().file_name()) + ':' + std::to_string(error.where().line()) + ')';
  }
  std::fputs((text + '\n').c_str(), stderr);
}

}  // namespace ballast
