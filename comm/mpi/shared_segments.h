// Defines: share_with_nobody, share_by_descriptor, share_by_window: three ways to make SharedSegments.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comm/communicator.h"

namespace ballast {

/// madvise over the whole pages of `part`: shared memory is freed for everyone who maps it.
void discard_pages(std::span<std::byte> part);

/// For a group of one: private memory.
[[nodiscard]] std::unique_ptr<SharedSegments> share_with_nobody(std::int64_t bytes, Filling filling);

/// Collective. Anonymous memory (memfd) of each worker that its neighbours map through /proc/<pid>/fd: no name, no
/// file, no limit of /dev/shm, gone with the last process. Needs one user and one pid namespace; else returns null on
/// every worker, with one `cause`.
[[nodiscard]] std::unique_ptr<SharedSegments> share_by_descriptor(Communicator& node, std::int64_t bytes,
                                                                  Filling filling, std::string& cause);

/// Collective. An MPI window, which lives in /dev/shm or a session directory. Throws Error that names `cause` (why the
/// descriptors failed) and its own cause.
[[nodiscard]] std::unique_ptr<SharedSegments> share_by_window(Communicator& node, MPI_Comm group, std::int64_t bytes,
                                                              Filling filling, const std::string& cause);

}  // namespace ballast
