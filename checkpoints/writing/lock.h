// Defines: DirectoryLock: one writing job per checkpoint directory.
#pragma once

#include <chrono>
#include <string>

namespace ballast {

/// Holds <directory>/.lock (flock) until destroyed. The kernel lets go of it when the process dies, however it dies.
/// The file stays and says who holds it.
class DirectoryLock {
 public:
  /// Waits this long for another holder: mpirun returns a second or two before the last of a dead job's workers is
  /// gone.
  static constexpr std::chrono::milliseconds kPatience{3000};

  /// Error(kBusy) when another live process keeps holding it; Error(kIo) when the file cannot be opened or locked.
  explicit DirectoryLock(const std::string& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_ = -1;
};

[[nodiscard]] std::string host_name();

}  // namespace ballast
