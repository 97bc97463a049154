// The CUDA runtime: launches and the attributes of kernels.
#include <cuda_runtime_api.h>
#include <cxxabi.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "cuda_emulator/execution.h"
#include "grid.h"
#include "last_error.h"
#include "memory.h"
#include "streams.h"

namespace cuda_emulator {
namespace {

constexpr int kDefaultDynamic = 48 << 10, kMostDynamic = 227 << 10;
std::map<const void*, int> dynamic_limits;  // of the kernels that asked for another one

int dynamic_limit(const void* kernel) {
  const auto found = dynamic_limits.find(kernel);
  return found == dynamic_limits.end() ? kDefaultDynamic : found->second;
}

bool fits_device(dim3 grid, dim3 block) {
  return grid.x > 0 && grid.y > 0 && grid.z > 0 && block.x > 0 && block.y > 0 && block.z > 0 && block.x <= 1024 &&
         block.y <= 1024 && block.z <= 64 && std::uint64_t{block.x} * block.y * block.z <= 1024 &&
         grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
}

// The kernel's name where the dynamic linker knows it; kept for ever, since reports read it late.
const char* name_of(const void* kernel) {
  static auto* names = new std::map<const void*, std::string>;
  std::string& name = (*names)[kernel];
  if (!name.empty()) return name.c_str();
  Dl_info info{};
  name = "a kernel";
  if (dladdr(kernel, &info) == 0 || info.dli_sname == nullptr) return name.c_str();
  int status = 0;
  char* readable = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  name = readable == nullptr ? info.dli_sname : readable;
  std::free(readable);
  return name.c_str();
}

}  // namespace

void check_kernel_pointer(const volatile void* pointer, int argument) {
  const Lock lock;
  check_argument(pointer, argument);
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, std::function<void()> body) {
  const Lock lock;
  const dim3 grid = config.gridDim, block = config.blockDim;
  if (!fits_device(grid, block)) return remember(cudaErrorInvalidConfiguration);
  const std::size_t dynamic = config.dynamicSmemBytes;
  if (dynamic > static_cast<std::size_t>(dynamic_limit(kernel))) return remember(cudaErrorInvalidValue);
  push(stream_of(config.stream), {.what = name_of(kernel), .run = [=, body = std::move(body)](CUstream_st& stream) {
                                    run_grid(grid, block, dynamic, body, stream.fibers);
                                  }});
  return cudaSuccess;
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const Lock lock;
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || value > kMostDynamic) return remember(cudaErrorInvalidValue);
  dynamic_limits[kernel] = value;
  return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* kernel) {
  const Lock lock;
  std::memset(attributes, 0, sizeof *attributes);
  attributes->maxThreadsPerBlock = 1024;
  attributes->maxDynamicSharedSizeBytes = dynamic_limit(kernel);
  return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads, std::size_t dynamic) {
  const int by_threads = 2048 / std::max(threads, 1);
  const int by_shared = dynamic == 0 ? 32 : static_cast<int>((std::size_t{228} << 10) / (dynamic + 1024));
  *blocks = std::min({by_threads, by_shared, 32});
  return cudaSuccess;
}

}  // extern "C"
