// Defines: Partition, blocks_in, PublishedRun, published_runs: buckets and slices of the flat buffer.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/split_allreduce.h"
#include "compute/backend.h"

namespace ballast {

struct Partition {
  std::vector<Slice> slices;         ///< by bucket, then by owner: one per bucket and coordinator
  std::vector<std::int64_t> begins;  ///< by bucket: its first flat element; falling
  [[nodiscard]] int buckets() const { return static_cast<int>(begins.size()); }
  /// Flat elements of bucket `bucket`; the first one reaches to the end of the buffer, `flat_size`.
  [[nodiscard]] ElementRange range_of(int bucket, std::int64_t flat_size) const {
    const auto at = static_cast<std::size_t>(bucket);
    return {begins[at], at == 0 ? flat_size : begins[at - 1]};
  }
};

/// Ranks floor(i * workers / K), rising; K = `coordinators`, or `workers` where that is 0 or more than `workers`.
[[nodiscard]] std::vector<int> coordinator_ranks(int coordinators, int workers);

/// Buckets are runs of neighbouring blocks of at least `bucket_bytes` of f32, cut from the end (the order in which
/// backward completes them). A bucket is cut at block borders into runs of nearly equal size, one per owner; which
/// owner gets which run rotates with the bucket, so that uneven cuts even out.
[[nodiscard]] Partition cut_buckets(const std::vector<Block>& blocks, std::int64_t bucket_bytes,
                                    const std::vector<int>& owners);

/// By slice: its blocks, counted from the slice's begin.
[[nodiscard]] std::vector<std::vector<ElementRange>> blocks_in(const std::vector<Slice>& slices,
                                                               const std::vector<Block>& blocks);

/// Neighbouring blocks of one published type.
struct PublishedRun {
  std::int64_t begin = 0, end = 0;  ///< flat elements
  DType dtype = DType::kF32;
};

[[nodiscard]] std::vector<PublishedRun> published_runs(const Slice& slice, const std::vector<Block>& blocks);

}  // namespace ballast
