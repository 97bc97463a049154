#include "runtime/supervision/process_state.h"

#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

namespace ballast {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string line_of(const std::filesystem::path& path) {
  const std::string text = text_of(path);
  return text.substr(0, text.find('\n'));
}

/// The letter behind the name in /proc/<id>/stat: R, S, D, T, Z, ...; 0 where there is no such process.
char state_letter(const std::filesystem::path& process) {
  const std::string stat = line_of(process / "stat");
  const auto end = stat.rfind(')');
  return end == std::string::npos || end + 2 >= stat.size() ? '\0' : stat[end + 2];
}

}  // namespace

std::string host_of_this_process() {
  std::array<char, 64> host{};
  return gethostname(host.data(), host.size() - 1) == 0 ? host.data() : "";
}

ProcessState process_state(const std::string& host, std::int64_t id) {
  if (host != host_of_this_process()) return ProcessState::kUnknown;
  const std::filesystem::path process = "/proc/" + std::to_string(id);
  const char letter = state_letter(process);
  // The number of a dead process may belong to another program by now.
  if (letter == '\0' || letter == 'Z' || line_of(process / "comm") != line_of("/proc/self/comm")) {
    return ProcessState::kDead;
  }
  return letter == 'T' || letter == 't' ? ProcessState::kStopped : ProcessState::kAlive;
}

std::string threads_of_this_process() {
  std::string text;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    const std::filesystem::path& path = task.path();
    text += "thread " + path.filename().string() + " " + line_of(path / "comm") + ": state " + state_letter(path) +
            ", system call " + line_of(path / "syscall") + ", sleeps in " + line_of(path / "wchan") + "\n";
  }
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS") || line.starts_with("VmHWM")) text += line + "\n";
  }
  return text;
}

}  // namespace ballast
