// The entries of ballast_nccl.so.
#include "compute/plugin.h"

#include <nccl.h>

#include <memory>
#include <string>

#include "comm/device/open_exchange.h"
#include "comm/nccl/nccl_exchange.h"

namespace ballast {
namespace {

std::unique_ptr<DeviceExchange> make_exchange(Communicator& world, Backend& backend, double timeout_seconds) {
  return std::make_unique<nccl::NcclExchange>(world, backend, timeout_seconds);
}

/// NCCL packs its version as decimal digits: 22809 is 2.28.9.
std::string description() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "NCCL of an unknown version";
  return "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

constexpr TransportPlugin kPlugin = {&make_exchange, &description};

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int ballast_plugin_version() { return kPluginVersion; }

__attribute__((visibility("default"))) const TransportPlugin* ballast_transport_plugin() { return &kPlugin; }

}  // extern "C"

}  // namespace ballast
