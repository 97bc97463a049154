// Samples come in the order asked for, whatever the thread behind does, and its errors come with them.
#include "runtime/prefetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "compute/error.h"

namespace ballast {
namespace {

using testing::ElementsAre;

/// Sample i has the target i; sample 99 is damaged.
class Numbers final : public Dataset {
 public:
  [[nodiscard]] std::int64_t size() const override { return 100; }
  void read(std::span<const std::int64_t> indices, Samples& out) const override {
    ++reads;
    out.targets.clear();
    for (const std::int64_t index : indices) {
      if (index == 99) throw DataError("numbers: sample 99 is damaged");
      out.targets.push_back(static_cast<std::int32_t>(index));
    }
  }
  [[nodiscard]] std::string fingerprint() const override { return "numbers"; }
  mutable std::atomic<int> reads = 0;
};

TEST(Prefetcher, GivesWhatWasAskedForInOrder) {
  const Numbers data;
  Prefetcher reader(data);
  reader.request({0, 1});
  for (std::int32_t i = 2; i < 60; i += 2) {
    const Samples& samples = reader.take();
    reader.request({i, i + 1});  // read while `samples` are in use
    EXPECT_THAT(samples.targets, ElementsAre(i - 2, i - 1));
  }
  EXPECT_THAT(reader.take().targets, ElementsAre(58, 59));
}

TEST(Prefetcher, GivesUpWhatNobodyTook) {
  const Numbers data;
  Prefetcher reader(data);
  reader.request({1});
  reader.request({2});
  EXPECT_THAT(reader.take().targets, ElementsAre(2));
  EXPECT_EQ(data.reads, 2);
}

TEST(Prefetcher, ThrowsWhatReadingThrewAndGoesOn) {
  const Numbers data;
  Prefetcher reader(data);
  reader.request({12, 99});
  EXPECT_THROW(reader.take(), DataError);
  reader.request({14});
  EXPECT_THAT(reader.take().targets, ElementsAre(14));
}

TEST(Prefetcher, EndsWithARequestUnderWay) {
  const Numbers data;
  for (int i = 0; i < 50; ++i) {
    Prefetcher reader(data);
    reader.request({i});
  }
}

}  // namespace
}  // namespace ballast
