// Defines: check for the CUDA runtime: the one place where its status codes become exceptions.
#pragma once

#include <cuda_runtime_api.h>

#include <source_location>
#include <string>

#include "compute/error.h"

namespace ballast::cuda {

/// Throws Error with the driver's own words unless `status` is success. A kernel that failed earlier may surface here:
/// Queue::synchronize() names the operations it can have been.
inline void check(cudaError_t status, std::source_location where = std::source_location::current()) {
  if (status == cudaSuccess) return;
  throw Error(std::string("CUDA: ") + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")",
              ExitCode::kInternal, where);
}

}  // namespace ballast::cuda
