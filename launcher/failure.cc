#include "launcher/failure.h"

#include <cstdio>
#include <string>

namespace ballast {

void print_failure(const Error& error) {
  std::string text = std::string("ballast: ") + error.what();
  if (error.code() == ExitCode::kInternal) {
    text += " (" + std::string(error.where().file_name()) + ':' + std::to_string(error.where().line()) + ')';
  }
  std::fputs((text + '\n').c_str(), stderr);
}

}  // namespace ballast
