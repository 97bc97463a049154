// Defines: Partition: buckets and slices of the flat buffer.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/split_allreduce.h"

namespace ballast {

struct Partition {
  std::vector<Slice> slices;         ///< by bucket, then by owner: one per bucket and coordinator
  std::vector<std::int64_t> begins;  ///< by bucket: its first flat element; falling
  [[nodiscard]] int buckets() const { return static_cast<int>(begins.size()); }
};

/// Ranks floor(i * workers / K), rising; K = `coordinators`, or `workers` where that is 0 or more than `workers`.
[[nodiscard]] std::vector<int> coordinator_ranks(int coordinators, int workers);

/// Buckets are runs of neighbouring blocks of at least `bucket_bytes` of f32, cut from the end (the order in which
/// backward completes them). A bucket is cut at block borders into runs of nearly equal size, one per owner; which
/// owner gets which run rotates with the bucket, so that uneven cuts even out.
[[nodiscard]] Partition cut_buckets(const std::vector<Block>& blocks, std::int64_t bucket_bytes,
                                    const std::vector<int>& owners);

}  // namespace ballast
