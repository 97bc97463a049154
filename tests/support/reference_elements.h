// Defines: load, store, add_to: elements of any float type as double, for ReferenceBackend and the tests that read its
// memory.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "compute/tensor.h"

namespace ballast {

/// bf16 is the upper half of a binary32.
[[nodiscard]] inline double bf16_to_double(std::uint16_t half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16);
}

/// To nearest, ties to even. Rounds to f32 first, as every backend does.
[[nodiscard]] inline std::uint16_t double_to_bf16(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

[[nodiscard]] inline double load(ConstDeviceSpan x, std::int64_t i) {
  switch (x.dtype) {
    case DType::kF32:
      return static_cast<const float*>(x.data)[i];
    case DType::kBF16:
      return bf16_to_double(static_cast<const std::uint16_t*>(x.data)[i]);
    case DType::kI32:
      return static_cast<const std::int32_t*>(x.data)[i];
    case DType::kF64:
      return static_cast<const double*>(x.data)[i];
  }
  return 0.0;
}

inline void store(DeviceSpan x, std::int64_t i, double value) {
  switch (x.dtype) {
    case DType::kF32:
      static_cast<float*>(x.data)[i] = static_cast<float>(value);
      return;
    case DType::kBF16:
      static_cast<std::uint16_t*>(x.data)[i] = double_to_bf16(value);
      return;
    case DType::kI32:
      static_cast<std::int32_t*>(x.data)[i] = static_cast<std::int32_t>(value);
      return;
    case DType::kF64:
      static_cast<double*>(x.data)[i] = value;
      return;
  }
}

inline void add_to(DeviceSpan x, std::int64_t i, double value) { store(x, i, load(x, i) + value); }

[[nodiscard]] inline std::int64_t load_index(ConstDeviceSpan x, std::int64_t i) {
  return static_cast<const std::int32_t*>(x.data)[i];
}

}  // namespace ballast
