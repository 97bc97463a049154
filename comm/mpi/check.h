// Defines: check_mpi: the one place where MPI's return codes become exceptions.
#pragma once

#include <source_location>

namespace ballast {

/// Throws Error with MPI's own text unless `code` is MPI_SUCCESS. Needs a communicator that returns errors.
void check_mpi(int code, std::source_location where = std::source_location::current());

}  // namespace ballast
