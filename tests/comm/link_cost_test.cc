#include "comm/link_cost.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr double kAlpha = 12e-6, kBeta = 1.1e8;

std::vector<MessageTime> times_of(double alpha, double beta) {
  std::vector<MessageTime> times;
  for (std::int64_t bytes = 64; bytes <= 256 << 10; bytes *= 8) {
    times.push_back({bytes, std::max(alpha, static_cast<double>(bytes) / beta)});
  }
  return times;
}

TEST(LinkCost, IsExactWithoutNoise) {
  for (const double alpha : {1e-6, kAlpha, 2e-4}) {
    for (const double beta : {2.5e6, kBeta, 1e9}) {
      // A border of one size on either side says the least that can be known.
      const LinkCost cost = fit_link_cost(times_of(alpha, beta));
      EXPECT_NEAR(cost.piece_seconds, std::max(alpha, 64 / beta), 1e-9 * alpha) << alpha << ' ' << beta;
      EXPECT_NEAR(cost.bytes_per_second, beta, 1e-9 * beta) << alpha << ' ' << beta;
    }
  }
}

TEST(LinkCost, IsNearUnderNoise) {
  std::uint32_t bits = 7;
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<MessageTime> times = times_of(kAlpha, kBeta);
    for (MessageTime& time : times) {
      bits = bits * 1664525U + 1013904223U;  // Knuth's and Lewis's linear congruential generator
      time.seconds *= 0.9 + 0.2 * static_cast<double>(bits >> 8) / (1 << 24);
    }
    const LinkCost cost = fit_link_cost(times);
    EXPECT_NEAR(cost.piece_seconds / kAlpha, 1.0, 0.12);
    EXPECT_NEAR(cost.bytes_per_second / kBeta, 1.0, 0.12);
  }
}

TEST(LinkCost, SlowShortMessagesDoNotSpoilTheRate) {
  std::vector<MessageTime> times = times_of(kAlpha, kBeta);
  times[0].seconds = 60e-6;  // a busy core
  times[1].seconds = 40e-6;
  const LinkCost cost = fit_link_cost(times);
  EXPECT_NEAR(cost.bytes_per_second / kBeta, 1.0, 1e-9);
  EXPECT_GT(cost.piece_seconds, 3 * kAlpha);
}

TEST(LinkCost, OneStallMovesTheRateByLessThanItself) {
  std::vector<MessageTime> times = times_of(kAlpha, kBeta);
  times[3].seconds *= 8.0;
  EXPECT_GT(fit_link_cost(times).bytes_per_second, 0.45 * kBeta);
}

TEST(LinkCost, DoesNotDependOnTheOrderOfTheTimes) {
  std::vector<MessageTime> times = times_of(kAlpha, kBeta);
  std::reverse(times.begin(), times.end());
  EXPECT_EQ(fit_link_cost(times).bytes_per_second, fit_link_cost(times_of(kAlpha, kBeta)).bytes_per_second);
  EXPECT_EQ(fit_link_cost(times).piece_seconds, fit_link_cost(times_of(kAlpha, kBeta)).piece_seconds);
}

TEST(LinkCost, NeedsAShortAndALongMessage) { EXPECT_THROW((void)fit_link_cost({{64, 1e-6}}), Error); }

}  // namespace
}  // namespace ballast
