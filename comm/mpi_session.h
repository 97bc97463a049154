// Defines: MpiSession: MPI from initialisation to the end of the process.
#pragma once

#include <exception>
#include <memory>
#include <string>

#include "comm/communicator.h"

namespace ballast {

/// Exactly one per process, alive as long as any Communicator of it. Initialises MPI with MPI_THREAD_FUNNELED: only the
/// thread that made it may communicate. The rank comes from MPI, never from Slurm's variables. Without mpirun it is a
/// job of one worker.
///
/// Finalising is collective, so a process that failed must not get there: when the destructor runs during unwinding it
/// aborts the job. main() catches inside the session's scope and calls abort().
class MpiSession {
 public:
  MpiSession(int& argc, char**& argv);
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  ~MpiSession();

  [[nodiscard]] Communicator& world() { return *world_; }
  /// "Open MPI v4.1.4"
  [[nodiscard]] static std::string library();
  /// Prints "ballast: [rank 3 on node07] <message>" to stderr, once per job where the failure is common to all, and
  /// ends every worker within seconds with the error's exit code.
  [[noreturn]] void abort(const std::exception& error);

 private:
  std::unique_ptr<Communicator> world_;
  int exceptions_ = 0;
};

}  // namespace ballast
