// Defines: emulated_graphs: what the emulated GPU did with CUDA graphs in this process.
#pragma once

#include <dlfcn.h>

#include <optional>

#include "tests/cuda_emulator/include/cuda_emulator/graph_counts.h"

namespace ballast {

/// Nothing where the backend under test is another one. Plugins bring the emulator, so it is looked for where it is
/// loaded.
[[nodiscard]] inline std::optional<GraphCounts> emulated_graphs() {
  void* const emulator = dlopen("libcuda_emulator.so", RTLD_LAZY | RTLD_NOLOAD);
  if (emulator == nullptr) return std::nullopt;
  const auto counts =
      reinterpret_cast<decltype(&cuda_emulator_graph_counts)>(dlsym(emulator, "cuda_emulator_graph_counts"));
  dlclose(emulator);
  return counts();
}

}  // namespace ballast
