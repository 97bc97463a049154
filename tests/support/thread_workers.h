// Defines: run_workers: threads as workers, for tests without mpirun (and under ThreadSanitizer).
#pragma once

#include <functional>

#include "comm/communicator.h"

namespace ballast {

/// Runs `body` on `workers` threads, each with the Communicator of one worker of one world. Waits block, nothing spins.
/// A send completes only when its receive is there, so a program that counts on buffering hangs here too. When a body
/// throws, the others' communication throws as well; the exception of the lowest such rank comes out.
void run_workers(int workers, const std::function<void(Communicator&)>& body);

/// The same with simulated nodes: worker r is on node r / workers_per_node.
void run_workers(int workers, int workers_per_node, const std::function<void(Communicator&)>& body);

}  // namespace ballast
