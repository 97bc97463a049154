#include "checkpoints/writing/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <thread>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::chrono::milliseconds kPause{50};

// Who holds it: the text of the file, as one printable line.
std::string holder(int descriptor) {
  std::array<char, 256> text{};
  const ssize_t size = ::pread(descriptor, text.data(), text.size(), 0);
  std::string line;
  for (ssize_t i = 0; i < size && text[static_cast<std::size_t>(i)] != '\n'; ++i) {
    const char c = text[static_cast<std::size_t>(i)];
    line += c >= ' ' && c <= '~' ? c : '?';
  }
  return line.empty() ? "unknown" : line;
}

bool lock_within(int descriptor, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  while (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown host";
  return name.data();
}

DirectoryLock::DirectoryLock(const std::string& directory) {
  const std::string path = directory + "/.lock";
  const auto fail = [&](int error) {
    if (descriptor_ >= 0) ::close(descriptor_);
    throw Error(path + ": " + std::generic_category().message(error), ExitCode::kIo);
  };
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0600);
  if (descriptor_ < 0) fail(errno);
  if (!lock_within(descriptor_, kPatience)) {
    if (errno != EWOULDBLOCK) fail(errno);
    const std::string who = holder(descriptor_);
    ::close(descriptor_);
    throw Error(
        directory + ": another job writes checkpoints here (" + who + "); stop it, or give this job another directory",
        ExitCode::kBusy);
  }
  const std::string text = "process " + std::to_string(::getpid()) + " on " + host_name() + "\n";
  const bool written = ::ftruncate(descriptor_, 0) == 0 &&
                       ::pwrite(descriptor_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
  static_cast<void>(written);  // the text is for people: on a full disk the lock holds all the same
}

DirectoryLock::~DirectoryLock() { ::close(descriptor_); }

}  // namespace ballast
