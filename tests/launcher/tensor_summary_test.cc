#include "launcher/tensor_summary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace ballast {
namespace {

TensorSummary summary_of(const std::vector<float>& values) {
  return summarise(static_cast<std::int64_t>(values.size()), [&](std::int64_t begin, std::span<float> out) {
    std::copy_n(values.begin() + begin, out.size(), out.begin());
  });
}

std::int64_t counted(const TensorSummary& s) {
  return std::accumulate(s.histogram.begin(), s.histogram.end(), std::int64_t{0});
}

TEST(TensorSummary, DescribesItsNumbers) {
  const TensorSummary s = summary_of({3.0F, -4.0F, 0.0F, 1.0F});
  EXPECT_EQ(s.elements, 4);
  EXPECT_EQ(s.not_finite, 0);
  EXPECT_DOUBLE_EQ(s.norm, std::sqrt(26.0));
  EXPECT_EQ(s.min, -4.0);
  EXPECT_EQ(s.max, 3.0);
  EXPECT_EQ(s.mean, 0.0);
  EXPECT_EQ(s.histogram.front(), 1);
  EXPECT_EQ(s.histogram.back(), 1);
  EXPECT_EQ(counted(s), 4);
}

TEST(TensorSummary, CountsWhatIsNotFiniteAndLeavesItOut) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const TensorSummary s = summary_of({nan, 2.0F, inf, -inf, 4.0F});
  EXPECT_EQ(s.not_finite, 3);
  EXPECT_EQ(s.min, 2.0);
  EXPECT_EQ(s.max, 4.0);
  EXPECT_EQ(s.mean, 3.0);
  EXPECT_EQ(counted(s), 2);
}

TEST(TensorSummary, TakesEmptyAndConstantTensors) {
  EXPECT_EQ(counted(summary_of({})), 0);
  EXPECT_EQ(histogram_text(summary_of({}), false), std::string(16, ' '));
  const TensorSummary s = summary_of(std::vector<float>(10, 7.0F));
  EXPECT_EQ(s.min, 7.0);
  EXPECT_EQ(s.histogram[0], 10);
}

TEST(TensorSummary, ReadsLargeTensorsInPieces) {
  constexpr std::int64_t kElements = (1 << 21) + 5;
  std::size_t largest = 0;
  const TensorSummary s = summarise(kElements, [&](std::int64_t begin, std::span<float> out) {
    largest = std::max(largest, out.size());
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<float>((begin + static_cast<std::int64_t>(i)) % 16);
  });
  EXPECT_LE(largest, std::size_t{1} << 20);
  EXPECT_EQ(s.max, 15.0);
  EXPECT_EQ(counted(s), kElements);
  EXPECT_EQ(s.histogram[0], kElements / 16 + 1);
  EXPECT_EQ(s.histogram[15], kElements / 16);
}

TEST(TensorSummary, DrawsOneCharacterPerBin) {
  TensorSummary s;
  s.histogram = {8, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8};
  EXPECT_EQ(histogram_text(s, false), "@=.            @");
  EXPECT_EQ(histogram_text(s, true), "█▄▁            █");
}

}  // namespace
}  // namespace ballast
