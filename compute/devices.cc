#include "compute/devices.h"

#include <exception>

#include "compute/cuda/plugin_entry.h"

namespace ballast {

DeviceReport find_devices(const std::string& plugins) {
  try {
    return open_cuda_plugin(plugins).find_devices();
  } catch (const std::exception& error) {
    DeviceReport report;
    report.problem = error.what();
    return report;
  }
}

}  // namespace ballast
