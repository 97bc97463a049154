// The one source of chance: a generator seeded by CUDA_EMULATOR_SEED.
#pragma once

#include <cstdint>

namespace cuda_emulator {

std::uint64_t seed();
std::uint64_t random_number();
inline std::uint64_t random_below(std::uint64_t bound) { return random_number() % bound; }
inline bool one_in(std::uint64_t chances) { return random_below(chances) == 0; }

/// Scrambles a counter: the same on every rank that has the same seed.
std::uint64_t keyed_random(std::uint64_t counter);

}  // namespace cuda_emulator
