#include "comm/split/partition.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "compute/error.h"

namespace ballast {
namespace {

/// `count` blocks of mixed sizes with gaps between some of them.
std::vector<Block> blocks_of(int count) {
  std::vector<Block> blocks;
  std::int64_t at = 0;
  for (int i = 0; i < count; ++i) {
    const std::int64_t size = i % 5 == 0 ? 7 : 128;
    blocks.push_back({at, at + size, DType::kF32});
    at += size + (i % 3 == 0 ? 9 : 0);
  }
  return blocks;
}

TEST(Partition, SpreadsCoordinatorsEvenlyWithRank0AmongThem) {
  EXPECT_EQ(coordinator_ranks(0, 3), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(coordinator_ranks(1, 3), (std::vector<int>{0}));
  EXPECT_EQ(coordinator_ranks(2, 8), (std::vector<int>{0, 4}));
  EXPECT_EQ(coordinator_ranks(3, 4), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(coordinator_ranks(5, 2), (std::vector<int>{0, 1}));
  EXPECT_THROW(static_cast<void>(coordinator_ranks(-1, 2)), ConfigError);
}

TEST(Partition, GivesEveryBlockToOneOwnerAndCutsBucketsFromTheEnd) {
  for (const int count : {1, 2, 17, 100}) {
    const std::vector<Block> blocks = blocks_of(count);
    for (const std::int64_t bytes : {1, 2000, 1 << 30}) {
      for (const int owners : {1, 2, 3, 7}) {
        const Partition partition = cut_buckets(blocks, bytes, coordinator_ranks(0, owners));
        ASSERT_EQ(static_cast<int>(partition.slices.size()), partition.buckets() * owners);
        std::vector<int> seen(blocks.size());
        for (std::size_t i = 0; i < partition.slices.size(); ++i) {
          const Slice& slice = partition.slices[i];
          EXPECT_EQ(slice.bucket, static_cast<int>(i) / owners);
          EXPECT_EQ(slice.owner, static_cast<int>(i) % owners);
          if (slice.block_count == 0) continue;
          EXPECT_GE(slice.begin, partition.begins[static_cast<std::size_t>(slice.bucket)]);
          EXPECT_EQ(slice.begin, blocks[static_cast<std::size_t>(slice.first_block)].begin);
          EXPECT_EQ(slice.end, blocks[static_cast<std::size_t>(slice.first_block + slice.block_count - 1)].end);
          for (int b = 0; b < slice.block_count; ++b) ++seen[static_cast<std::size_t>(slice.first_block + b)];
        }
        EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
        EXPECT_TRUE(std::is_sorted(partition.begins.rbegin(), partition.begins.rend()));
      }
    }
  }
}

TEST(Partition, KeepsBucketsAtLeastAsLargeAsAskedFor) {
  const std::vector<Block> blocks = blocks_of(100);
  const Partition partition = cut_buckets(blocks, 4000, {0});
  ASSERT_GT(partition.buckets(), 3);
  for (int b = 0; b + 1 < partition.buckets(); ++b) {  // the first parameters may be too few for the last bucket
    const Slice& slice = partition.slices[static_cast<std::size_t>(b)];
    EXPECT_GE((slice.end - slice.begin) * 4, 4000);
  }
}

TEST(Partition, SharesTheWorkEvenlyEvenWhenBucketsHaveFewerBlocksThanOwners) {
  std::vector<Block> blocks;
  for (std::int64_t i = 0; i < 120; ++i) blocks.push_back({i * 10, i * 10 + 10, DType::kF32});
  for (const int blocks_per_bucket : {1, 2, 3, 5, 40}) {
    const Partition partition = cut_buckets(blocks, blocks_per_bucket * 40, coordinator_ranks(0, 4));
    std::vector<int> counts(4);
    for (const Slice& slice : partition.slices) counts[static_cast<std::size_t>(slice.owner)] += slice.block_count;
    const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
    EXPECT_LE(*most - *least, 2) << blocks_per_bucket << " blocks per bucket";
  }
}

TEST(Partition, OfNothingHasNoBuckets) { EXPECT_EQ(cut_buckets({}, 100, {0, 1}).buckets(), 0); }

}  // namespace
}  // namespace ballast
