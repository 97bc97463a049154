// Defines: end_job, end_job_from_terminate.
#pragma once

#include <exception>

namespace ballast {

/// Prints one line for `error` and ends every worker with its exit code. Rank 0 speaks first and tells the others, so
/// that they stay silent about the same error. MPI must be initialised.
[[noreturn]] void end_job(const std::exception& error);

/// A terminate handler: the same for an exception that nobody caught, from any thread.
[[noreturn]] void end_job_from_terminate();

}  // namespace ballast
