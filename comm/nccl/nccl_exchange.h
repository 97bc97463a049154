// Defines: NcclExchange: slices between CUDA devices, over NCCL.
#pragma once

#include <cuda_runtime_api.h>

#include <vector>

#include "comm/device/device_exchange.h"
#include "comm/nccl/handles.h"
#include "comm/nccl/nccl_communicator.h"
#include "compute/backend.h"

namespace ballast::nccl {

/// One group on one stream, beside the backend's. Used by the thread that uses the backend.
class NcclExchange final : public DeviceExchange {
 public:
  /// Collective. `backend` is the one of CUDA; its device is current.
  NcclExchange(Communicator& world, Backend& backend, double timeout_seconds);

  void after_compute() override;
  void begin_group() override;
  void send(ConstDeviceSpan from, int to) override;
  void receive(DeviceSpan to, int from) override;
  void end_group() override;
  void reduce_scatter(ConstDeviceSpan all, DeviceSpan mine) override;
  void all_gather(ConstDeviceSpan mine, DeviceSpan all) override;
  [[nodiscard]] int mark() override;
  void before_compute(int mark) override;
  void wait() override;
  void check() override { group_.check(); }

 private:
  [[nodiscard]] cudaStream_t compute() { return static_cast<cudaStream_t>(backend_.queue()); }

  Backend& backend_;
  Stream stream_;
  Event computed_;
  std::vector<Event> marks_;  ///< the first marks_used_ are recorded
  int marks_used_ = 0;
  NcclCommunicator group_;  ///< last: it ends its work before the stream goes
};

}  // namespace ballast::nccl
