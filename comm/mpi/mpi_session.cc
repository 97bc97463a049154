#include "comm/mpi_session.h"

#include <mpi.h>

#include <array>
#include <cstdlib>
#include <exception>

#include "comm/mpi/abort.h"
#include "comm/mpi/check.h"
#include "comm/mpi/mpi_communicator.h"
#include "compute/error.h"

namespace ballast {
namespace {

/// Defaults for Open MPI; what the user has set stays. Other MPIs do not read them.
void set_library_defaults() {
  constexpr int kKeep = 0;
  // Workers often share cores: MPI's own blocking calls must yield.
  setenv("OMPI_MCA_mpi_yield_when_idle", "1", kKeep);  // NOLINT(concurrency-mt-unsafe)
  // Open MPI's crash handler takes locks that the crashed thread may hold, and then the job hangs instead of ending.
  setenv("OMPI_MCA_opal_signal", "", kKeep);  // NOLINT(concurrency-mt-unsafe)
  // Over TCP, a piece of Transfers (256 KiB) and its header leave without a handshake.
  setenv("OMPI_MCA_btl_tcp_eager_limit", "270336", kKeep);  // NOLINT(concurrency-mt-unsafe)
}

}  // namespace

MpiSession::MpiSession(int& argc, char**& argv) : exceptions_(std::uncaught_exceptions()) {
  int initialised = 0;
  check_mpi(MPI_Initialized(&initialised));
  require(initialised == 0, "MpiSession: MPI was initialised before; there is one session per process");
  set_library_defaults();
  int provided = 0;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided));
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
  std::set_terminate(&end_job_from_terminate);
  if (provided < MPI_THREAD_FUNNELED) abort(Error("this MPI library does not allow threads (MPI_THREAD_FUNNELED)"));
  try {
    world_ = make_mpi_world();
  } catch (const std::exception& error) {
    abort(error);
  }
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() > exceptions_) {
    end_job(Error("an exception left the scope of the MPI session; main() has to catch it inside"));
  }
  world_.reset();
  MPI_Finalize();
}

// Libraries append a good deal more, behind a comma or in further lines.
std::string MpiSession::library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  check_mpi(MPI_Get_library_version(text.data(), &length));
  const std::string all(text.data(), static_cast<std::size_t>(length));
  return all.substr(0, all.find_first_of(",\n"));
}

void MpiSession::abort(const std::exception& error) { end_job(error); }

}  // namespace ballast
