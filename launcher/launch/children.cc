#include "launcher/launch/children.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "compute/error.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kNap = std::chrono::milliseconds(5);
constexpr auto kDyingTime = std::chrono::seconds(30);
constexpr int kSignalled = 128;

Children::End end_of(int status) {
  if (WIFSIGNALED(status)) return {kSignalled + WTERMSIG(status), true};
  return {WEXITSTATUS(status), false};
}

// Between fork and exec: only what is safe there.
[[noreturn]] void become(char* const* arguments, int error, int farewell) {
  prctl(PR_SET_PDEATHSIG, farewell);
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);  // NOLINT(cppcoreguidelines-pro-type-vararg)
  dup2(null, STDIN_FILENO);
  if (error < 0) dup2(null, STDOUT_FILENO);
  dup2(error < 0 ? null : error, STDERR_FILENO);
  execvp(arguments[0], arguments);
  _exit(errno == ENOENT ? 127 : 126);
}

// {process: its parent}; "PID (name) state parent ...", where the name may hold anything.
std::map<pid_t, pid_t> parents() {
  std::map<pid_t, pid_t> all;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", gone)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string text;
    std::getline(file, text, '\0');
    std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
    char state = 0;
    pid_t parent = 0;
    if (fields >> state >> parent) all[std::stoi(name)] = parent;
  }
  return all;
}

std::vector<pid_t> descendants(pid_t ancestor) {
  const std::map<pid_t, pid_t> parent_of = parents();
  std::vector<pid_t> found;
  for (const auto& [process, parent] : parent_of) {
    pid_t above = parent;
    while (above > 1 && above != ancestor && parent_of.contains(above)) above = parent_of.at(above);
    if (above == ancestor) found.push_back(process);
  }
  return found;
}

}  // namespace

Children::Children() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) throw Error("launch: this system cannot adopt orphaned processes");
}

pid_t Children::start(const std::vector<std::string>& command, int error, int farewell) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child < 0) throw Error("launch: no further process can be started");
  if (child == 0) become(arguments.data(), error, farewell);
  known_[child] = std::nullopt;
  return child;
}

void Children::reap() {
  int status = 0;
  for (pid_t child = 0; (child = waitpid(-1, &status, WNOHANG)) > 0;) {
    const auto known = known_.find(child);
    if (known != known_.end()) known->second = end_of(status);
  }
}

std::optional<Children::End> Children::ended(pid_t child) {
  reap();
  const auto known = known_.find(child);
  if (known == known_.end() || !known->second) return std::nullopt;
  const std::optional<End> end = known->second;
  known_.erase(known);
  return end;
}

// Stopped processes die of SIGKILL as well. Each round sees the orphans that the round before has made.
void Children::kill_all() {
  for (const auto until = Clock::now() + kDyingTime;; std::this_thread::sleep_for(kNap)) {
    const std::vector<pid_t> left = descendants(getpid());
    for (const pid_t process : left) kill(process, SIGKILL);
    reap();
    if (left.empty()) break;
    if (Clock::now() < until) continue;
    throw Error("launch: process " + std::to_string(left.front()) +
                    " cannot be ended: a disk or a network file system that does not answer holds it",
                ExitCode::kIo);
  }
  known_.clear();
}

int count_own_kind(pid_t parent) {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  int count = 0;
  const std::string tasks = "/proc/" + std::to_string(parent) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child = 0; children >> child;) {
      count += std::filesystem::read_symlink("/proc/" + std::to_string(child) + "/exe", error) == own && !error ? 1 : 0;
    }
  }
  return count;
}

}  // namespace ballast
