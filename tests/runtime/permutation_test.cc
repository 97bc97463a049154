#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "compute/philox.h"
#include "runtime/dataset.h"

namespace ballast {
namespace {

std::vector<std::int64_t> permutation(std::int64_t size, std::uint64_t key) {
  std::vector<std::int64_t> indices(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) indices[static_cast<std::size_t>(i)] = permuted_index(i, size, key);
  return indices;
}

TEST(Permutation, HoldsEveryIndexOnce) {
  for (const std::int64_t size : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 4096, 4097, 60000}) {
    std::vector<std::int64_t> indices = permutation(size, 7);
    std::sort(indices.begin(), indices.end());
    for (std::int64_t i = 0; i < size; ++i) EXPECT_EQ(indices[static_cast<std::size_t>(i)], i) << size;
  }
}

TEST(Permutation, DependsOnTheKey) {
  EXPECT_EQ(permutation(100, 1), permutation(100, 1));
  EXPECT_NE(permutation(100, 1), permutation(100, 2));
}

TEST(Permutation, SendsEveryIndexEverywhere) {
  constexpr std::int64_t kSize = 10;
  constexpr int kKeys = 4000;
  std::vector<int> hits(kSize * kSize);
  for (std::uint64_t key = 0; key < kKeys; ++key) {
    for (std::int64_t i = 0; i < kSize; ++i)
      ++hits[static_cast<std::size_t>(kSize * i + permuted_index(i, kSize, key))];
  }
  for (const int count : hits) EXPECT_NEAR(count, kKeys / kSize, 6 * std::sqrt(kKeys / kSize));
}

TEST(Permutation, LeavesNoTraceOfTheOrder) {
  const std::vector<std::int64_t> indices = permutation(10000, 3);
  double product = 0.0;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    product += (static_cast<double>(i) - 4999.5) * (static_cast<double>(indices[i]) - 4999.5);
  }
  const double variance = (1e8 - 1.0) / 12.0;
  EXPECT_LT(std::abs(product / (1e4 * variance)), 0.05);  // correlation; its deviation is 0.01
}

TEST(Permutation, WorksForSizesBeyond32Bits) {
  const std::int64_t size = (std::int64_t{1} << 40) + 12345;
  for (const std::int64_t index : {std::int64_t{0}, size / 2, size - 1}) {
    const std::int64_t permuted = permuted_index(index, size, 9);
    EXPECT_GE(permuted, 0);
    EXPECT_LT(permuted, size);
  }
  EXPECT_NE(permuted_index(0, size, 9), permuted_index(1, size, 9));
}

/// The network read backwards, written anew from the formula above permuted_index().
std::int64_t index_of(std::int64_t permuted, std::int64_t size, std::uint64_t key) {
  int half = 0;
  while ((std::int64_t{1} << 2 * half) < size) ++half;
  const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  auto value = static_cast<std::uint64_t>(permuted);
  do {
    std::uint64_t left = value >> half, right = value & mask;
    for (std::uint32_t round = 6; round-- > 0;) {
      const std::uint64_t before = right ^ (philox({static_cast<std::uint32_t>(left), round, 0, 0}, key)[0] & mask);
      right = left;
      left = before;
    }
    value = left << half | right;
  } while (value >= static_cast<std::uint64_t>(size));
  return static_cast<std::int64_t>(value);
}

TEST(Permutation, IsUndoneByItsInverseForSizesBeyond40Bits) {
  for (const std::int64_t size : {std::int64_t{100}, (std::int64_t{1} << 41) + 7, (std::int64_t{1} << 44) + 1,
                                  (std::int64_t{1} << 52) - 1, std::int64_t{1} << 62}) {
    for (std::int64_t i = 0; i < 20'000; ++i) {
      const std::int64_t index =
          static_cast<std::int64_t>(mix_key(3, static_cast<std::uint64_t>(i)) % static_cast<std::uint64_t>(size));
      const std::int64_t permuted = permuted_index(index, size, 9);
      ASSERT_LT(permuted, size);
      ASSERT_EQ(index_of(permuted, size, 9), index) << size;
    }
  }
}

TEST(Permutation, SendsNoTwoOfManyIndicesBeyond40BitsToTheSame) {
  constexpr std::int64_t kSize = (std::int64_t{1} << 41) + 7;
  std::vector<std::int64_t> permuted;
  for (std::int64_t i = 0; i < 300'000; ++i) permuted.push_back(permuted_index(kSize / 300'000 * i, kSize, 9));
  for (std::int64_t i = 1; i < 1000; ++i) permuted.push_back(permuted_index(kSize - i, kSize, 9));
  std::sort(permuted.begin(), permuted.end());
  EXPECT_EQ(std::adjacent_find(permuted.begin(), permuted.end()), permuted.end());
}

TEST(Permutation, RefusesAnIndexOutside) {
  EXPECT_THROW((void)permuted_index(5, 5, 1), Error);
  EXPECT_THROW((void)permuted_index(-1, 5, 1), Error);
}

}  // namespace
}  // namespace ballast
