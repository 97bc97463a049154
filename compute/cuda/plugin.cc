// The entries of ballast_cuda.so.
#include "compute/cuda/cuda_backend.h"
#include "compute/cuda/find_devices.h"
#include "compute/cuda/plugin_entry.h"

namespace ballast {

namespace {

constexpr CudaPlugin kPlugin = {&cuda::make_backend, &cuda::find_devices};

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int ballast_plugin_version() { return kPluginVersion; }

__attribute__((visibility("default"))) const CudaPlugin* ballast_cuda_plugin() { return &kPlugin; }

}  // extern "C"

}  // namespace ballast
