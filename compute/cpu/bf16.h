// Defines: Bf16, widen, narrow: one bf16 number on the host. The kernels convert vectors by the same rule (simd_inl.h).
#pragma once

#include <bit>
#include <cstdint>

namespace ballast {

/// The bits of a bf16 number: the upper half of an IEEE binary32.
using Bf16 = std::uint16_t;

[[nodiscard]] inline float widen(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

/// Rounds to nearest, ties to even. A NaN stays a NaN: rounding could carry its payload into infinity, so it is cut off
/// and made quiet.
[[nodiscard]] inline Bf16 narrow(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<Bf16>((bits >> 16) | 0x40U);
  return static_cast<Bf16>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace ballast
