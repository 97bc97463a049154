// Defines: NcclCommunicator: NCCL's group of workers, on which no call and no wait lasts for ever.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <exception>
#include <functional>
#include <string>

#include "comm/communicator.h"

namespace ballast::nccl {

/// Non-blocking: NCCL's calls return at once, and what they began is polled together with NCCL's asynchronous errors.
/// On a failure, and when the others do not answer in time, the group is aborted, which ends its kernels, and an Error
/// with this worker's rank says what happened.
class NcclCommunicator {
 public:
  /// Collective over `world`. The current device is this worker's. `timeout_seconds` = 0: waits for ever.
  NcclCommunicator(Communicator& world, double timeout_seconds);
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;
  ~NcclCommunicator();

  [[nodiscard]] ncclComm_t get() const { return group_; }

  /// For calls inside a group, which only note what end_group() will do.
  void noted(ncclResult_t result, const char* call);
  /// For all others: returns when the call has put its work on the stream.
  void complete(ncclResult_t result, const char* call);
  /// Throws when something under way has failed.
  void check();
  /// Waits for the work of the stream.
  void wait(cudaStream_t stream);

 private:
  /// Asks `done` until it says so.
  void poll(const char* what, const std::function<bool()>& done);
  [[nodiscard]] bool settled(const char* call);
  [[noreturn]] void fail(ncclResult_t result, const char* call);
  [[noreturn]] void give_up(const char* what);
  void abort() noexcept;

  int rank_;
  double timeout_seconds_;
  ncclComm_t group_ = nullptr;
  int exceptions_ = std::uncaught_exceptions();
};

}  // namespace ballast::nccl
