#include "random.h"

#include <cstdlib>

namespace cuda_emulator {
namespace {

std::uint64_t scramble(std::uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

}  // namespace

std::uint64_t seed() {
  static const std::uint64_t seed = [] {
    const char* text = std::getenv("CUDA_EMULATOR_SEED");
    return text == nullptr ? 1u : std::strtoull(text, nullptr, 10);
  }();
  return seed;
}

std::uint64_t random_number() {  // xorshift64
  static std::uint64_t state = scramble(seed()) | 1u;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

std::uint64_t keyed_random(std::uint64_t counter) { return scramble(scramble(seed()) + counter); }

}  // namespace cuda_emulator
