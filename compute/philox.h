// Defines: Philox4x32, uniform, normal: random numbers that are a pure function of a key and a counter.
//
// Philox-4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC'11). Nothing here
// has state: the same (key, counter) gives the same four words on every worker, thread, backend and run. Users build
// counters from what the number is *for* (step, sample, operation, element), never from who draws it.
#pragma once

#include <array>
#include <cstdint>

namespace ballast {

using PhiloxBlock = std::array<std::uint32_t, 4>;

/// Ten rounds over `counter` with `key`.
[[nodiscard]] PhiloxBlock philox(PhiloxBlock counter, std::uint64_t key);

/// In [0, 1), 24 bits of resolution: exact in f32.
[[nodiscard]] inline float uniform(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24F; }

/// Two independent standard normal numbers of two words (Box and Muller 1958).
[[nodiscard]] std::array<float, 2> normal_pair(std::uint32_t a, std::uint32_t b);

/// Mixes a name or a number into a 64-bit key (splitmix64 finaliser).
[[nodiscard]] std::uint64_t mix_key(std::uint64_t key, std::uint64_t value);

}  // namespace ballast
