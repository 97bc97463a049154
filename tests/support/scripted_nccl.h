// Defines: ScriptedNccl: what the NCCL and the CUDA runtime of a test answer, to test what happens when they fail.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <vector>

namespace ballast {

/// Answers are given one after another; the last one for ever.
struct ScriptedNccl {
  std::vector<ncclResult_t> init = {ncclSuccess};
  std::vector<ncclResult_t> states = {ncclSuccess};  ///< of ncclCommGetAsyncError
  std::vector<ncclResult_t> finalize = {ncclSuccess};
  std::vector<cudaError_t> stream = {cudaSuccess};  ///< of cudaStreamQuery
  int blocking = -1;                                ///< what the group was configured with
  int aborted = 0, destroyed = 0;                   ///< groups
};

/// The one that NCCL's and CUDA's functions answer from.
[[nodiscard]] ScriptedNccl& scripted_nccl();

}  // namespace ballast
