// Defines: run_as_worker: the frame of every command that runs under MPI.
#pragma once

#include <functional>

#include "comm/communicator.h"
#include "launcher/commands/commands.h"

namespace ballast {

/// Starts MPI and runs `body` on every worker. A failure of any of them ends the whole job with its message and exit
/// code.
ExitCode run_as_worker(Process& process, const std::function<ExitCode(Communicator&)>& body);

}  // namespace ballast
