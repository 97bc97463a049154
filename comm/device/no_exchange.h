// Defines: NoExchange: the exchange of a worker that is alone.
#pragma once

#include "comm/device/device_exchange.h"
#include "compute/error.h"

namespace ballast {

class NoExchange final : public DeviceExchange {
 public:
  void after_compute() override {}
  void begin_group() override {}
  void send(ConstDeviceSpan, int) override { refuse(); }
  void receive(DeviceSpan, int) override { refuse(); }
  void end_group() override {}
  void reduce_scatter(ConstDeviceSpan, DeviceSpan) override { refuse(); }
  void all_gather(ConstDeviceSpan, DeviceSpan) override { refuse(); }
  [[nodiscard]] int mark() override { return 0; }
  void before_compute(int) override {}
  void wait() override {}
  void check() override {}

 private:
  static void refuse() { throw Error("DeviceExchange: a worker that is alone has nobody to exchange with"); }
};

}  // namespace ballast
