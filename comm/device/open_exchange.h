// Defines: TransportPlugin, open_transport, open_exchange: the transport between devices, loaded at run time.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/device/device_exchange.h"
#include "compute/backend.h"

namespace ballast {

/// The table that the one entry of ballast_nccl.so, `const TransportPlugin* ballast_transport_plugin()`, returns.
struct TransportPlugin {
  /// Collective. Throws Error when the others do not come within `timeout_seconds` (0: waits for ever).
  std::unique_ptr<DeviceExchange> (*make_exchange)(Communicator& world, Backend& backend, double timeout_seconds);
  std::string (*description)();  ///< "NCCL 2.28.9"
};

/// From `folder`, or beside the program where it is empty. Throws ConfigError in the loader's words.
[[nodiscard]] const TransportPlugin& open_transport(const std::string& folder);

/// Collective. Of a worker that is alone: no library is opened.
[[nodiscard]] std::unique_ptr<DeviceExchange> open_exchange(Communicator& world, Backend& backend,
                                                            const std::string& folder, double timeout_seconds);

}  // namespace ballast
