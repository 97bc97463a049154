#include <csignal>
#include <exception>
#include <variant>

#include "launcher/command_line.h"
#include "launcher/failure.h"

// Commands that use MPI catch inside the session's scope; what gets here never met MPI.
int main(int argc, char** argv) {
  using namespace ballast;
  std::signal(SIGXFSZ, SIG_IGN);  // a file that grows over its limit fails its write, and the save says so
  try {
    const Command command = parse_command_line({argv + 1, argv + argc});
    Process process{argc, argv};
    return static_cast<int>(std::visit([&](const auto& chosen) { return run(chosen, process); }, command));
  } catch (const Error& error) {
    print_failure(error);
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    print_failure(Error(error.what()));
    return static_cast<int>(ExitCode::kInternal);
  }
}
