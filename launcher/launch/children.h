// Defines: Children: processes that are started here, and everything that they start.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ballast {

/// Whatever a child leaves behind becomes a child of this process, so nothing that was started on this machine can get
/// lost. At most one per process.
class Children {
 public:
  Children();

  /// In a session of its own, without stdin. `error`: the file descriptor that becomes its stderr; -1: both of its
  /// outputs are dropped. It gets `farewell` when this process dies. A program that cannot be executed ends with code
  /// 126 or 127, as in a shell.
  pid_t start(const std::vector<std::string>& command, int error, int farewell);

  struct End {
    int code;        ///< as a shell reports it: 128 + n for an end by signal n
    bool by_signal;  ///< its own; a child may pass on such a code of another process
  };
  /// Of a child that has ended and was not asked for before.
  [[nodiscard]] std::optional<End> ended(pid_t child);

  /// SIGKILL for every process below this one; returns when none is left. Forgets all children. Throws Error(kIo)
  /// naming a process that does not die: a disk or a network file system holds it.
  void kill_all();

 private:
  void reap();

  std::map<pid_t, std::optional<End>> known_;
};

/// How many processes that run this very program have `parent` as their parent.
[[nodiscard]] int count_own_kind(pid_t parent);

}  // namespace ballast
