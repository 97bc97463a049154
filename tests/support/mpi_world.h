// Defines: mpi_world: all ranks of the mpirun that a *_mpi_test runs under.
#pragma once

#include "comm/communicator.h"

namespace ballast {

/// Made by mpi_main.cc before the first test.
[[nodiscard]] Communicator& mpi_world();

}  // namespace ballast
