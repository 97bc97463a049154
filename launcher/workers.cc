#include "launcher/workers.h"

#include "comm/mpi_session.h"

namespace ballast {

ExitCode run_as_worker(Process& process, const std::function<ExitCode(Communicator&)>& body) {
  MpiSession session(process.argc, process.argv);
  try {
    return body(session.world());
  } catch (const std::exception& error) {
    session.abort(error);  // inside the session: unwinding into MPI_Finalize would hang the other workers
  }
}

}  // namespace ballast
