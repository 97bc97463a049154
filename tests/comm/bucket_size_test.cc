#include "comm/bucket_size.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

namespace ballast {
namespace {

constexpr std::int64_t kGradient = 496 << 20;

std::int64_t size_for(double alpha, double beta, std::int64_t coordinators = 4, std::int64_t gradient = kGradient) {
  return auto_bucket_bytes(gradient, coordinators, {.piece_seconds = alpha, .bytes_per_second = beta});
}

/// What of a step depends on the size of a bucket, divided by (K - 1) s: see the header.
double seconds_of(double bytes, double alpha, double beta, double coordinators) {
  return bytes / coordinators / beta + static_cast<double>(kGradient) / bytes * alpha;
}

TEST(BucketSize, NoOtherPowerOfTwoCostsLess) {
  for (const double alpha : {3e-6, 2e-5, 1e-4}) {
    for (const double beta : {1e8, 1e9, 5e9}) {
      for (const std::int64_t coordinators : {2, 8}) {
        const std::int64_t chosen = size_for(alpha, beta, coordinators);
        const auto seconds = [&](std::int64_t bytes) {
          return seconds_of(static_cast<double>(bytes), alpha, beta, static_cast<double>(coordinators));
        };
        EXPECT_TRUE(chosen == kLeastBucketBytes || seconds(chosen) <= seconds(chosen / 2)) << alpha << ' ' << beta;
        EXPECT_TRUE(chosen == kMostBucketBytes || seconds(chosen) <= seconds(chosen * 2)) << alpha << ' ' << beta;
      }
    }
  }
}

TEST(BucketSize, GrowsWithWhatMakesSmallBucketsDear) {
  std::int64_t by_alpha = 0, by_beta = 0, by_owners = 0, by_gradient = 0;
  for (int i = 0; i < 24; ++i) {
    const double factor = std::exp2(i);
    const auto grows = [](std::int64_t& before, std::int64_t now) {
      EXPECT_GE(now, before);
      before = now;
    };
    grows(by_alpha, size_for(1e-8 * factor, 1e9));
    grows(by_beta, size_for(1e-5, 1e5 * factor));
    grows(by_owners, size_for(1e-5, 1e8, std::int64_t{1} << i));
    grows(by_gradient, size_for(1e-5, 1e9, 4, std::int64_t{1000} << i));
  }
  for (const std::int64_t largest : {by_alpha, by_beta, by_owners}) EXPECT_EQ(largest, kMostBucketBytes);
}

TEST(BucketSize, IsAPowerOfTwoWithinBounds) {
  for (const double alpha : {0.0, 1e-9, 1e-6, 7e-5, 1e-2, 1e9}) {
    for (const double beta : {1.0, 1e6, 3e8, 1e11, 1e30}) {
      const std::int64_t bytes = size_for(alpha, beta);
      EXPECT_TRUE(std::has_single_bit(static_cast<std::uint64_t>(bytes))) << bytes;
      EXPECT_GE(bytes, kLeastBucketBytes);
      EXPECT_LE(bytes, kMostBucketBytes);
    }
  }
  EXPECT_EQ(size_for(0.0, 1e9), kLeastBucketBytes);
  EXPECT_EQ(size_for(1e9, 1e9), kMostBucketBytes);
}

TEST(BucketSize, StaysWhereTheMeasurementIsAFifthOff) {
  // sqrt(4 G alpha beta) is 2^22 bytes here.
  const double alpha = std::exp2(44) / 4.0 / static_cast<double>(kGradient) / 1e9;
  for (const double off : {0.8, 1.0, 1.2}) {
    EXPECT_EQ(size_for(off * alpha, 1e9), 4 << 20);
    EXPECT_EQ(size_for(alpha, off * 1e9), 4 << 20);
  }
}

}  // namespace
}  // namespace ballast
