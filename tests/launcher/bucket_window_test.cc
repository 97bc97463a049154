#include "launcher/plan/bucket_window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/model.h"

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::int64_t kElements = 100;  // of a bucket, half of them another node's

/// The last bucket lies first, as training cuts them.
std::vector<BucketLoad> buckets(int count) {
  std::vector<BucketLoad> loads;
  for (int b = count - 1; b >= 0; --b) {
    loads.push_back({.begin = b * kElements,
                     .end = (b + 1) * kElements,
                     .owned = kElements / 2,
                     .published = 4.0 * kElements,
                     .slices = 2,
                     .my_slices = 1});
  }
  return loads;
}

ValueRanges elements(std::int64_t begin, std::int64_t end) { return {{begin, end}}; }

/// A pass whose operation i reads bucket i, counted from the buffer's begin, and back.
std::vector<ValueRanges> there_and_back(int count) {
  std::vector<ValueRanges> reads;
  for (int b = 0; b < count; ++b) reads.push_back(elements(b * kElements, (b + 1) * kElements));
  for (int b = count - 1; b >= 0; --b) reads.push_back(elements(b * kElements, (b + 1) * kElements));
  return reads;
}

int fetched_in_a_pass(BucketWindow& window) {
  std::size_t fetched = 0;
  for (std::size_t i = 0; i < window.reads(); ++i) fetched += window.next().size();
  return static_cast<int>(fetched);
}

TEST(BucketWindow, FetchesAFewOperationsAhead) {
  static_assert(kValuesAhead == 4);
  const auto loads = buckets(8);
  BucketWindow window(loads, {elements(0, 150), elements(150, 250), elements(399, 400), elements(0, 100),
                              elements(400, 401), elements(500, 800)});
  EXPECT_THAT(window.next(), ElementsAre(6, 7, 5, 4, 3))
      << "elements 0 to 149, then up to 249, then what three more read";
  EXPECT_THAT(window.next(), ElementsAre(0, 1, 2));
  for (int i = 0; i < 4; ++i) EXPECT_THAT(window.next(), IsEmpty());
}

TEST(BucketWindow, KeepsAFewThatNobodyReads) {
  const auto loads = buckets(16);
  BucketWindow window(loads, there_and_back(16));
  EXPECT_EQ(fetched_in_a_pass(window), 16 + 9) << "the last three, and the four before them, are still there";
  EXPECT_DOUBLE_EQ(window.most_bytes(), (5 + 4) * 2.0 * kElements) << "of other nodes";
  EXPECT_EQ(fetched_in_a_pass(window), 12 + 9) << "and four from pass to pass";
  window.new_values();
  EXPECT_EQ(fetched_in_a_pass(window), 16 + 9);
}

TEST(BucketWindow, LeavesOutBucketsThatTheNodeOwns) {
  auto loads = buckets(2);
  loads[0].my_slices = 2;
  BucketWindow window(loads, {elements(0, 200)});
  EXPECT_THAT(window.next(), ElementsAre(1));
}

}  // namespace
}  // namespace ballast
