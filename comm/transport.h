// Defines: transport_description.
#pragma once

#include <string>

namespace ballast {

/// What carries slices between devices, from the folder `plugins` (empty: beside the program): "NCCL 2.28.9". Throws
/// ConfigError in the loader's words where it is not installed.
[[nodiscard]] std::string transport_description(const std::string& plugins);

}  // namespace ballast
