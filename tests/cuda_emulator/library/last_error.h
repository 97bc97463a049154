// The error that cudaGetLastError returns: each thread's own.
#pragma once

#include <cuda_runtime_api.h>

namespace cuda_emulator {

/// Remembers an error and returns it.
cudaError_t remember(cudaError_t error);

}  // namespace cuda_emulator
