#include "comm/mpi/check.h"

#include <mpi.h>

#include <string>

#include "compute/error.h"

namespace ballast {

void check_mpi(int code, std::source_location where) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  throw Error("MPI failed: " + std::string(text, static_cast<std::size_t>(length)), ExitCode::kInternal, where);
}

}  // namespace ballast
