// The one place that knows which backends there are; apart from backend.cc, which the plugins link.
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/cpu_backend.h"
#include "compute/cuda/plugin_entry.h"

namespace ballast {

int available_cores() {
  // cpu_set_t holds 1024 cores; a larger machine refuses it with EINVAL, so the set grows until the kernel is content.
  for (std::size_t sets = 1; sets <= 64; sets *= 2) {
    std::vector<cpu_set_t> mask(sets);
    const std::size_t bytes = sets * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, mask.data()) == 0) return std::max(1, CPU_COUNT_S(bytes, mask.data()));
    if (errno != EINVAL) break;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

namespace {

std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options) try {
  return open_cuda_plugin(options.plugins).make_backend(options);
} catch (const ConfigError& error) {
  throw ConfigError(std::string("compute.backend = \"cuda\": ") + error.what() + "; use \"cpu\" or \"auto\"");
}

}  // namespace

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.threads < 0) {
    throw ConfigError("compute.threads is " + std::to_string(options.threads) +
                      ": use 0 (one thread per core) or a positive number");
  }
  if (options.name == "cuda") return make_cuda_backend(options);
  if (options.name != "auto" && options.name != "cpu") {
    throw ConfigError("compute.backend = \"" + options.name + "\" is unknown: use \"auto\", \"cpu\" or \"cuda\"");
  }
  return std::make_unique<CpuBackend>(options.threads > 0 ? options.threads : available_cores());
}

}  // namespace ballast
