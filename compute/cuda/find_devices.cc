#include "compute/cuda/find_devices.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <string>

#include "compute/cuda/check.h"

namespace ballast::cuda {

namespace {

constexpr int kLeastMajor = 8;  // compute capability: the kernels are compiled for 8.0, which has cp.async and bf16

/// CUDA's numbers for versions: 13010 is 13.1. Zero, where there is no driver, is empty.
std::string version_of(int number) {
  if (number == 0) return "";
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

std::vector<bool> peers_of(int device, int devices) {
  std::vector<bool> peers;
  for (int peer = 0; peer < devices; ++peer) {
    int can = 0;
    if (peer != device) check(cudaDeviceCanAccessPeer(&can, device, peer));
    peers.push_back(can != 0);
  }
  return peers;
}

Device device_at(int ordinal, int devices) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, ordinal));
  const std::string capability = std::to_string(properties.major) + "." + std::to_string(properties.minor);
  if (properties.major < kLeastMajor) {
    throw Error("device " + std::to_string(ordinal) + " (" + properties.name + ") is of compute capability " +
                capability + ", the kernels need " + std::to_string(kLeastMajor) +
                ".0 or later: use another machine, or hide it with CUDA_VISIBLE_DEVICES");
  }
  return {.name = properties.name,
          .compute_capability = capability,
          .memory_bytes = static_cast<std::int64_t>(properties.totalGlobalMem),
          .processors = properties.multiProcessorCount,
          .peer_access = peers_of(ordinal, devices)};
}

}  // namespace

std::string driver_version() {
  int number = 0;
  (void)cudaDriverGetVersion(&number);
  return version_of(number);
}

std::string toolkit_version() {
  int number = 0;
  (void)cudaRuntimeGetVersion(&number);
  return version_of(number);
}

std::string library_version() {
  const std::size_t number = cublasLtGetVersion();
  return "cuBLASLt " + std::to_string(number / 10000) + "." + std::to_string(number % 10000 / 100) + "." +
         std::to_string(number % 100);
}

DeviceReport find_devices() {
  DeviceReport report;
  report.driver = driver_version();
  report.toolkit = toolkit_version();
  report.library = library_version();
  try {
    int devices = 0;
    check(cudaGetDeviceCount(&devices));
    for (int ordinal = 0; ordinal < devices; ++ordinal) report.devices.push_back(device_at(ordinal, devices));
  } catch (const Error& error) {
    report.devices.clear();
    report.problem = error.what();
  }
  if (report.devices.empty() && report.problem.empty()) report.problem = "the driver knows no device";
  return report;
}

void require_device(int ordinal) {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess) throw ConfigError(cudaGetErrorString(status));
  if (ordinal >= 0 && ordinal < devices) return;
  throw ConfigError("there is no device " + std::to_string(ordinal) + ": the driver knows " + std::to_string(devices) +
                    (devices == 1 ? " device" : " devices, counted from 0"));
}

}  // namespace ballast::cuda
