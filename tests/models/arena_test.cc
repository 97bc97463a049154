#include "models/planner/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace ballast {
namespace {

bool share_bytes(const Storage& a, const Storage& b) {
  return a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

bool share_time(const Storage& a, const Storage& b) { return a.first <= b.last && b.first <= a.last; }

/// Bytes in use at the busiest time: no arena can be smaller.
std::int64_t peak(const std::vector<Storage>& storages) {
  std::int64_t most = 0;
  for (const Storage& at : storages) {
    std::int64_t sum = 0;
    for (const Storage& s : storages) sum += s.first <= at.first && at.first <= s.last ? s.bytes : 0;
    most = std::max(most, sum);
  }
  return most;
}

TEST(Arena, NeverOverlapsStoragesThatLiveTogether) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<Storage> storages(1 + random() % 40);
    for (Storage& s : storages) {
      s.bytes = 1 + static_cast<std::int64_t>(random() % (random() % 4 == 0 ? 1000000 : 500));
      s.first = static_cast<int>(random() % 50);
      s.last = s.first + static_cast<int>(random() % 20);
    }
    const std::int64_t bytes = place_storages(storages);
    EXPECT_GE(bytes, peak(storages));
    for (std::size_t i = 0; i < storages.size(); ++i) {
      EXPECT_EQ(storages[i].offset % (storages[i].bytes >= 65536 ? 4096 : 64), 0);
      EXPECT_LE(storages[i].offset + storages[i].bytes, bytes);
      for (std::size_t j = 0; j < i; ++j) {
        const bool collide = share_time(storages[i], storages[j]) && share_bytes(storages[i], storages[j]);
        EXPECT_FALSE(collide) << "round " << round << ": " << i << " and " << j;
      }
    }
  }
}

TEST(Arena, ReusesMemoryOfTheDead) {
  std::vector<Storage> storages = {{.bytes = 640, .first = 0, .last = 1},
                                   {.bytes = 320, .first = 2, .last = 3},
                                   {.bytes = 320, .first = 2, .last = 3}};
  EXPECT_EQ(place_storages(storages), 640);
}

TEST(Arena, FillsTheSmallestGapThatFits) {
  // At time 5 gaps of 1024 and 256 bytes are free between storages that live on.
  std::vector<Storage> storages = {{.bytes = 4096, .first = 0, .last = 9}, {.bytes = 1024, .first = 0, .last = 4},
                                   {.bytes = 960, .first = 0, .last = 9},  {.bytes = 256, .first = 0, .last = 4},
                                   {.bytes = 192, .first = 0, .last = 9},  {.bytes = 128, .first = 5, .last = 9}};
  place_storages(storages);
  EXPECT_EQ(storages[5].offset, storages[3].offset);
}

}  // namespace
}  // namespace ballast
