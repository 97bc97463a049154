// Defines: CudaPlugin, open_cuda_plugin: what crosses the boundary between the program and ballast_cuda.so.
#pragma once

#include <memory>
#include <string>

#include "compute/backend.h"
#include "compute/devices.h"
#include "compute/plugin.h"

namespace ballast {

/// The table that the library's one entry, `const CudaPlugin* ballast_cuda_plugin()`, returns.
struct CudaPlugin {
  std::unique_ptr<Backend> (*make_backend)(const BackendOptions&);  ///< throws ConfigError without such a device
  DeviceReport (*find_devices)();
};

/// Throws ConfigError in the loader's words.
[[nodiscard]] inline const CudaPlugin& open_cuda_plugin(const std::string& folder) {
  using Entry = const CudaPlugin* (*)();
  return *Plugin::open(folder, "ballast_cuda.so").symbol<Entry>("ballast_cuda_plugin")();
}

}  // namespace ballast
