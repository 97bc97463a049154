#include "tests/support/scripted_nccl.h"

namespace ballast {
namespace {

template <typename Answer>
Answer next(std::vector<Answer>& answers) {
  const Answer answer = answers.front();
  if (answers.size() > 1) answers.erase(answers.begin());
  return answer;
}

}  // namespace

ScriptedNccl& scripted_nccl() {
  static ScriptedNccl script;
  return script;
}

}  // namespace ballast

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  *id = {};
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* group, int, ncclUniqueId, int, ncclConfig_t* config) {
  static char any = 0;
  *group = reinterpret_cast<ncclComm_t>(&any);
  ballast::scripted_nccl().blocking = config->blocking;
  return ballast::next(ballast::scripted_nccl().init);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* state) {
  *state = ballast::next(ballast::scripted_nccl().states);
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t) { return ballast::next(ballast::scripted_nccl().finalize); }

ncclResult_t ncclCommDestroy(ncclComm_t) {
  ++ballast::scripted_nccl().destroyed;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t) {
  ++ballast::scripted_nccl().aborted;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t) { return "remote process exited"; }
const char* ncclGetLastError(ncclComm_t) { return "socket closed by node7"; }

cudaError_t cudaStreamQuery(cudaStream_t) { return ballast::next(ballast::scripted_nccl().stream); }
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "an illegal memory access was encountered"; }
const char* cudaGetErrorName(cudaError_t) { return "cudaErrorIllegalAddress"; }

}  // extern "C"
