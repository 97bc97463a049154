#include "comm/device/open_exchange.h"

#include "comm/device/no_exchange.h"
#include "comm/transport.h"
#include "compute/plugin.h"

namespace ballast {

const TransportPlugin& open_transport(const std::string& folder) {
  using Entry = const TransportPlugin* (*)();
  return *Plugin::open(folder, "ballast_nccl.so").symbol<Entry>("ballast_transport_plugin")();
}

std::unique_ptr<DeviceExchange> open_exchange(Communicator& world, Backend& backend, const std::string& folder,
                                              double timeout_seconds) {
  if (world.size() == 1) return std::make_unique<NoExchange>();
  return open_transport(folder).make_exchange(world, backend, timeout_seconds);
}

std::string transport_description(const std::string& plugins) { return open_transport(plugins).description(); }

}  // namespace ballast
