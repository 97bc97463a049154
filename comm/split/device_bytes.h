// Defines: bytes_of: device memory as the bytes that a message carries. The backend's memory must be addressable by the
// host.
#pragma once

#include <cstddef>
#include <span>

#include "compute/tensor.h"

namespace ballast {

[[nodiscard]] inline std::span<std::byte> bytes_of(DeviceSpan span) {
  return {static_cast<std::byte*>(span.data), static_cast<std::size_t>(span.bytes())};
}

[[nodiscard]] inline std::span<const std::byte> bytes_of(ConstDeviceSpan span) {
  return {static_cast<const std::byte*>(span.data), static_cast<std::size_t>(span.bytes())};
}

}  // namespace ballast
