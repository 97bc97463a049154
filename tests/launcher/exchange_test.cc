#include "launcher/plan/exchange.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "comm/split/partition.h"

namespace ballast {
namespace {

/// Parameters of odd sizes, cut into blocks as training cuts them.
std::vector<Block> odd_blocks() {
  std::vector<Block> blocks;
  std::int64_t at = 0;
  for (const std::int64_t size : {100000, 48, 8192, 64, 30000, 16, 50000}) {
    for (std::int64_t begin = 0; begin < size; begin += 8192) {
      blocks.push_back(
          {at + begin, at + std::min<std::int64_t>(begin + 8192, size), size > 1000 ? DType::kBF16 : DType::kF32});
    }
    at += size;
  }
  return blocks;
}

std::vector<int> owners_of(const Ownership& who) {
  return coordinator_ranks(static_cast<int>(who.coordinators), static_cast<int>(who.workers()));
}

/// By node: elements that its workers own.
std::vector<std::int64_t> owned_by_node(const Partition& partition, const Ownership& who) {
  std::vector<std::int64_t> owned(static_cast<std::size_t>(who.nodes));
  for (const Slice& slice : partition.slices) {
    owned[static_cast<std::size_t>(slice.owner / who.workers_per_node)] += slice.end - slice.begin;
  }
  return owned;
}

TEST(Exchange, CutsBucketsWhereTrainingCutsThem) {
  for (const std::int64_t bytes : {std::int64_t{1}, std::int64_t{100000}, std::int64_t{1} << 30}) {
    const Partition partition = cut_buckets(odd_blocks(), bytes, {0});
    const std::vector<BucketLoad> loads = cut_loads(odd_blocks(), bytes, {});
    ASSERT_EQ(loads.size(), partition.begins.size());
    for (std::size_t b = 0; b < loads.size(); ++b) EXPECT_EQ(loads[b].begin, partition.begins[b]);
  }
}

TEST(Exchange, FindsWhatTheBusiestNodeOwns) {
  for (const Ownership who : {Ownership{1, 1}, Ownership{2, 1}, Ownership{3, 2}, Ownership{16, 1}, Ownership{4, 2, 3},
                              Ownership{40, 1}, Ownership{100, 2}}) {
    const std::vector<BucketLoad> loads = cut_loads(odd_blocks(), 150000, who);
    const std::vector<std::int64_t> owned = owned_by_node(cut_buckets(odd_blocks(), 150000, owners_of(who)), who);
    const std::int64_t most = *std::max_element(owned.begin(), owned.end());
    std::int64_t mine = 0;
    for (const BucketLoad& load : loads) mine += load.owned;
    EXPECT_EQ(mine, most) << who.nodes << " nodes";
  }
}

TEST(Exchange, CountsPublishedBytesInTheTypeThatNodesNeed) {
  const std::vector<BucketLoad> loads = cut_loads(odd_blocks(), 1 << 30, {});
  ASSERT_EQ(loads.size(), 1U);
  EXPECT_DOUBLE_EQ(loads[0].published, 2.0 * (100000 + 8192 + 30000 + 50000) + 4.0 * (48 + 64 + 16));
  EXPECT_DOUBLE_EQ(loads[0].owned_published(), loads[0].published);
}

TEST(Exchange, ManyOwnersShareOnlyAsManySlicesAsThereAreBlocks) {
  const auto blocks = static_cast<std::int64_t>(odd_blocks().size());
  const std::vector<BucketLoad> loads = cut_loads(odd_blocks(), 1 << 30, {10000, 1});
  EXPECT_EQ(loads[0].slices, blocks);
  EXPECT_EQ(loads[0].my_slices, 1);
}

}  // namespace
}  // namespace ballast
