#include "compute/devices.h"

#include <dlfcn.h>

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

bool driver_is_here() {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver != nullptr) dlclose(driver);
  return driver != nullptr;
}

}  // namespace ballast
