#include "comm/nccl/nccl_communicator.h"

#include <chrono>
#include <exception>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "comm/nccl/handles.h"
#include "compute/error.h"

namespace ballast::nccl {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

std::string in_seconds(double seconds) {
  std::string text = std::to_string(seconds);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + " s";
}

}  // namespace

NcclCommunicator::NcclCommunicator(Communicator& world, double timeout_seconds)
    : rank_(world.rank()), timeout_seconds_(timeout_seconds) {
  ncclUniqueId id{};
  if (rank_ == 0) noted(ncclGetUniqueId(&id), "ncclGetUniqueId");
  world.broadcast(std::as_writable_bytes(std::span(&id, 1)), 0);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  complete(ncclCommInitRankConfig(&group_, world.size(), id, rank_, &config), "ncclCommInitRankConfig");
}

NcclCommunicator::~NcclCommunicator() {
  if (std::uncaught_exceptions() > exceptions_) abort();
  if (group_ == nullptr) return;
  try {
    complete(ncclCommFinalize(group_), "ncclCommFinalize");  // waits for the others' last transfers
    static_cast<void>(ncclCommDestroy(group_));
  } catch (const std::exception&) {
    abort();  // a destructor cannot say why; whatever failed was reported where it was waited for
  }
}

void NcclCommunicator::noted(ncclResult_t result, const char* call) {
  if (result != ncclSuccess && result != ncclInProgress) fail(result, call);
}

void NcclCommunicator::complete(ncclResult_t result, const char* call) {
  noted(result, call);
  if (result == ncclInProgress) poll(call, [&] { return settled(call); });
}

void NcclCommunicator::check() { static_cast<void>(settled("a transfer")); }

void NcclCommunicator::wait(cudaStream_t stream) {
  poll("a transfer", [&] {
    const cudaError_t status = cudaStreamQuery(stream);
    if (status == cudaErrorNotReady) {
      static_cast<void>(cudaGetLastError());  // it is no error, but it would be the last one
      check();
      return false;
    }
    if (status != cudaSuccess) abort();
    nccl::check(status);
    return true;
  });
}

bool NcclCommunicator::settled(const char* call) {
  ncclResult_t state = ncclSuccess;
  noted(ncclCommGetAsyncError(group_, &state), "ncclCommGetAsyncError");
  noted(state, call);
  return state == ncclSuccess;
}

void NcclCommunicator::poll(const char* what, const std::function<bool()>& done) {
  const Clock::time_point begin = Clock::now();
  while (!done()) {
    if (timeout_seconds_ > 0 && seconds_since(begin) > timeout_seconds_) give_up(what);
    std::this_thread::yield();
  }
}

void NcclCommunicator::fail(ncclResult_t result, const char* call) {
  const std::string message = "rank " + std::to_string(rank_) + ": NCCL: " + call + ": " + ncclGetErrorString(result) +
                              ": " + ncclGetLastError(group_) + "; NCCL_DEBUG=WARN in the environment says more";
  abort();
  throw Error(message);
}

void NcclCommunicator::give_up(const char* what) {
  abort();
  throw Error(
      "rank " + std::to_string(rank_) + ": no answer from the other workers for " + in_seconds(timeout_seconds_) +
          " in NCCL (" + what +
          "): look for one that has failed or hangs; NCCL_DEBUG=INFO in the environment shows whom it waits for",
      ExitCode::kHang);
}

void NcclCommunicator::abort() noexcept {
  if (group_ != nullptr) static_cast<void>(ncclCommAbort(std::exchange(group_, nullptr)));
}

}  // namespace ballast::nccl
