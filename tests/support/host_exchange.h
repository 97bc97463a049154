// Defines: HostExchange: the exchange between devices, over the host's communicator and for memory of the host.
#pragma once

#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/device/device_exchange.h"
#include "compute/backend.h"

namespace ballast {

/// Sends and receives are done when the program waits for them and not before, as late as a device may do them: who
/// forgets to wait reads old numbers.
class HostExchange final : public DeviceExchange {
 public:
  /// Collective.
  HostExchange(Communicator& world, Backend& backend) : world_(world.split(0)), backend_(backend) {}

  void after_compute() override { backend_.synchronize(); }
  void begin_group() override;
  void send(ConstDeviceSpan from, int to) override;
  void receive(DeviceSpan to, int from) override;
  void end_group() override;
  void reduce_scatter(ConstDeviceSpan all, DeviceSpan mine) override;
  void all_gather(ConstDeviceSpan mine, DeviceSpan all) override;
  [[nodiscard]] int mark() override { return static_cast<int>(requests_.size()); }
  void before_compute(int mark) override;
  void wait() override;
  void check() override {}

 private:
  std::unique_ptr<Communicator> world_;
  Backend& backend_;
  bool in_group_ = false;
  std::vector<std::unique_ptr<Request>> requests_;
};

}  // namespace ballast
