#include "comm/split/node_buckets.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

#include "compute/error.h"

namespace ballast {
namespace {

using State = NodeBuckets::State;

class Buckets : public testing::Test {
 protected:
  static constexpr int kCount = 6;
  std::vector<std::int64_t> words_ =
      std::vector<std::int64_t>(static_cast<std::size_t>(NodeBuckets::bytes(kCount)) / 8);
  NodeBuckets buckets_{reinterpret_cast<std::byte*>(words_.data()), kCount};
  NodeBuckets neighbours_{reinterpret_cast<std::byte*>(words_.data()), kCount};
  std::vector<int> gone_;
  NodeBuckets::GiveBack note_ = [this](int bucket) { gone_.push_back(bucket); };

  void use_once(int bucket) {
    if (buckets_.use(bucket) == State::kAbsent) buckets_.arrived(bucket);
    buckets_.release(bucket);
  }
};

TEST_F(Buckets, AreFetchedByTheFirstWhoUsesThem) {
  EXPECT_EQ(buckets_.use(2), State::kAbsent);
  EXPECT_EQ(neighbours_.use(2), State::kComing);
  EXPECT_FALSE(neighbours_.here(2));
  buckets_.arrived(2);
  EXPECT_TRUE(neighbours_.here(2));
  EXPECT_EQ(neighbours_.use(2), State::kHere);
  EXPECT_EQ(neighbours_.use(3), State::kAbsent);
}

TEST_F(Buckets, StayWhileSomebodyUsesThem) {
  EXPECT_EQ(buckets_.use(1), State::kAbsent);
  buckets_.arrived(1);
  EXPECT_EQ(neighbours_.use(1), State::kHere);
  buckets_.release(1);
  buckets_.drop_idle(0, note_);
  EXPECT_TRUE(gone_.empty());
  EXPECT_THROW(buckets_.drop(1, note_), Error);
  neighbours_.release(1);
  buckets_.drop_idle(0, note_);
  EXPECT_EQ(gone_, std::vector<int>{1});
  EXPECT_EQ(buckets_.use(1), State::kAbsent);
}

TEST_F(Buckets, GoInTheOrderInWhichTheyWereReleased) {
  for (const int bucket : {4, 0, 3, 1, 0}) use_once(bucket);
  buckets_.drop_idle(2, note_);
  EXPECT_EQ(gone_, (std::vector<int>{4, 3}));
  buckets_.drop_idle(2, note_);
  EXPECT_EQ(gone_.size(), 2U);
  for (int bucket = 0; bucket < kCount; ++bucket) buckets_.drop(bucket, note_);
  EXPECT_EQ(gone_, (std::vector<int>{4, 3, 0, 1}));
}

/// Threads use buckets at random and drop them. A bucket's number is written by its fetcher and wiped out when it goes:
/// plain memory, so that ThreadSanitizer sees whether the words order all of it.
TEST_F(Buckets, AreWholeWhileTheyAreUsedByAnyone) {
  std::vector<int> contents(kCount, -1);
  const auto work = [&](unsigned seed) {
    NodeBuckets mine(reinterpret_cast<std::byte*>(words_.data()), kCount);
    std::mt19937 random(seed);
    int wrong = 0;
    for (int i = 0; i < 20000; ++i) {
      const int bucket = static_cast<int>(random() % kCount);
      int& content = contents[static_cast<std::size_t>(bucket)];
      if (mine.use(bucket) == State::kAbsent) {
        content = bucket;
        mine.arrived(bucket);
      }
      while (!mine.here(bucket)) std::this_thread::yield();
      if (content != bucket) ++wrong;
      mine.release(bucket);
      mine.drop_idle(random() % 3, [&](int gone) { contents[static_cast<std::size_t>(gone)] = -1; });
    }
    EXPECT_EQ(wrong, 0);
  };
  std::vector<std::thread> threads;
  for (unsigned seed = 1; seed <= 4; ++seed) threads.emplace_back(work, seed);
  for (std::thread& thread : threads) thread.join();
  for (int bucket = 0; bucket < kCount; ++bucket) buckets_.drop(bucket, note_);
}

}  // namespace
}  // namespace ballast
