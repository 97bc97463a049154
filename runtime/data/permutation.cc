// Implements permuted_index of runtime/dataset.h.
//
// A balanced Feistel network of 2 h bits, h the smallest with 4^h >= size:  (L, R) -> (R, L xor F(R, round)), F = h
// bits of Philox. It is a bijection of 0..4^h-1 whatever F is (Luby and Rackoff 1988). Applied again until the result
// is below size ("cycle walking", Black and Rogaway 2002), it is one of 0..size-1: less than four applications on
// average.
#include <bit>

#include "compute/philox.h"
#include "runtime/dataset.h"

namespace ballast {
namespace {

constexpr std::uint32_t kRounds = 6;  // 4 are enough for large domains; small ones mix better with more

std::uint64_t feistel(std::uint64_t value, int half_bits, std::uint64_t key) {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  std::uint64_t left = value >> half_bits;
  std::uint64_t right = value & mask;
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    const std::uint64_t mixed = left ^ (philox({static_cast<std::uint32_t>(right), round, 0, 0}, key)[0] & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits | right;
}

}  // namespace

std::int64_t permuted_index(std::int64_t index, std::int64_t size, std::uint64_t key) {
  require(index >= 0 && index < size, "index outside the permutation");
  const int bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size - 1)));
  const int half_bits = (bits + 1) / 2;
  if (half_bits == 0) return index;
  auto value = static_cast<std::uint64_t>(index);
  do {
    value = feistel(value, half_bits, key);
  } while (value >= static_cast<std::uint64_t>(size));
  return static_cast<std::int64_t>(value);
}

}  // namespace ballast
