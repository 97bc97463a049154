#include "launcher/workers.h"

#include "comm/mpi_session.h"
#include "launcher/failure.h"

namespace ballast {

namespace {

// Alone there is nobody to hang, and no rank worth naming.
ExitCode report(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  const Error failure = ours != nullptr ? *ours : Error(error.what());
  print_failure(failure);
  return failure.code();
}

}  // namespace

ExitCode run_as_worker(Process& process, const std::function<ExitCode(Communicator&)>& body) {
  MpiSession session(process.argc, process.argv);
  try {
    return body(session.world());
  } catch (const std::exception& error) {
    if (session.world().size() == 1) return report(error);
    session.abort(error);  // inside the session: unwinding into MPI_Finalize would hang the other workers
  }
}

}  // namespace ballast
