#include "compute/philox.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <set>

namespace ballast {
namespace {

// The known answers that Salmon, Moraes, Dror and Shaw publish for philox4x32 with 10 rounds.
TEST(Philox, GivesThePublishedNumbers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, 0), (PhiloxBlock{0x6627e8d5U, 0xe169c58dU, 0xbc57ac4cU, 0x9b00dbd8U}));
  EXPECT_EQ(philox({~0U, ~0U, ~0U, ~0U}, ~0ULL), (PhiloxBlock{0x408f276dU, 0x41c83b0eU, 0xa20bc7c6U, 0x6d5451fdU}));
  EXPECT_EQ(philox({0x243f6a88U, 0x85a308d3U, 0x13198a2eU, 0x03707344U}, 0x299f31d0a4093822ULL),
            (PhiloxBlock{0xd16cfe09U, 0x94fdccebU, 0x5001e420U, 0x24126ea1U}));
}

TEST(Philox, ChangesWithEveryPartOfItsArguments) {
  const PhiloxBlock zero = philox({0, 0, 0, 0}, 0);
  EXPECT_NE(philox({1, 0, 0, 0}, 0), zero);
  EXPECT_NE(philox({0, 1, 0, 0}, 0), zero);
  EXPECT_NE(philox({0, 0, 1, 0}, 0), zero);
  EXPECT_NE(philox({0, 0, 0, 1}, 0), zero);
  EXPECT_NE(philox({0, 0, 0, 0}, 1), zero);
  EXPECT_NE(philox({0, 0, 0, 0}, 1ULL << 32), zero);
}

TEST(Uniform, CoversZeroToOneWithoutOne) {
  EXPECT_EQ(uniform(0), 0.0F);
  EXPECT_EQ(uniform(~0U), 1.0F - 0x1p-24F);
  EXPECT_EQ(uniform(0x80000000U), 0.5F);
}

TEST(Normal, HasMeanZeroAndVarianceOne) {
  constexpr int kBlocks = 50'000;
  double sum = 0.0;
  double squares = 0.0;
  double product = 0.0;
  for (std::uint32_t i = 0; i < kBlocks; ++i) {
    const PhiloxBlock words = philox({i, 0, 0, 0}, 12345);
    const auto [x, y] = normal_pair(words[0], words[1]);
    sum += double{x} + double{y};
    squares += double{x} * x + double{y} * y;
    product += double{x} * y;
  }
  // Six standard deviations of the mean, the variance and the covariance of 2 * kBlocks numbers.
  EXPECT_NEAR(sum / (2.0 * kBlocks), 0.0, 6.0 / std::sqrt(2.0 * kBlocks));
  EXPECT_NEAR(squares / (2.0 * kBlocks), 1.0, 6.0 * std::sqrt(2.0 / (2.0 * kBlocks)));
  EXPECT_NEAR(product / kBlocks, 0.0, 6.0 / std::sqrt(1.0 * kBlocks));
}

TEST(Normal, IsFiniteForEveryWord) {
  for (const std::uint32_t a : {0U, 1U, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    for (const std::uint32_t b : {0U, 0x40000000U, 0xFFFFFFFFU}) {
      const auto [x, y] = normal_pair(a, b);
      EXPECT_TRUE(std::isfinite(x) && std::isfinite(y)) << a << ' ' << b;
    }
  }
  EXPECT_NEAR(normal_pair(0, 0)[0], std::sqrt(2.0 * 33.0 * std::log(2.0)), 1e-5);  // the largest: u = 2^-33
}

TEST(MixKey, GivesTheNumbersOfSplitmix64) {
  // The first outputs of splitmix64 seeded with 0.
  EXPECT_EQ(mix_key(0, 0), 0xE220A8397B1DCDAFULL);
  EXPECT_EQ(mix_key(0, 1), 0x6E789E6AA1B965F4ULL);
}

TEST(MixKey, FlipsHalfOfTheBits) {
  int flipped = 0;
  std::set<std::uint64_t> keys;
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t key = mix_key(7, 1ULL << bit);
    keys.insert(key);
    flipped += std::popcount(key ^ mix_key(7, 0));
  }
  EXPECT_EQ(keys.size(), 64U);
  EXPECT_NEAR(flipped / 64.0, 32.0, 3.0);  // 6 standard deviations of the mean of 64 sums of 64 fair bits
}

}  // namespace
}  // namespace ballast
