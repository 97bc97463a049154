// Defines: find_devices, require_device, and the versions of what drives devices.
#pragma once

#include <string>

#include "compute/devices.h"

namespace ballast::cuda {

/// What the driver says about this machine. Never throws.
[[nodiscard]] DeviceReport find_devices();

/// Throws ConfigError in the driver's own words where there is no device, and names the devices that there are where
/// `ordinal` is not one of them.
void require_device(int ordinal);

[[nodiscard]] std::string driver_version();   ///< newest CUDA that the driver runs: "13.0"; empty without a driver
[[nodiscard]] std::string toolkit_version();  ///< "13.0"
[[nodiscard]] std::string library_version();  ///< "cuBLASLt 13.1.0"

}  // namespace ballast::cuda
