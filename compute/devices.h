// Defines: Device, DeviceReport, find_devices, driver_is_here: the accelerators of this machine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ballast {

struct Device {
  std::string name;                ///< "NVIDIA H100 80GB HBM3"
  std::string compute_capability;  ///< "9.0"
  std::int64_t memory_bytes = 0;
  int processors = 0;             ///< streaming multiprocessors
  std::vector<bool> peer_access;  ///< to each device of the report
};

struct DeviceReport {
  std::vector<Device> devices;
  std::string driver, toolkit, library;  ///< versions: "13.0", "13.0", "cuBLASLt 13.1.0"; empty where unknown
  std::string problem;                   ///< why there is no device, in the driver's or the loader's words; or empty
};

/// Never throws: a machine without an accelerator has a problem to report. `plugins`: see BackendOptions.
[[nodiscard]] DeviceReport find_devices(const std::string& plugins);

/// Whether a GPU's driver is installed. find_devices() loads all of CUDA (some 200 MB) to say so.
[[nodiscard]] bool driver_is_here();

}  // namespace ballast
