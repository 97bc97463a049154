// Defines: Ownership, BucketLoad, cut_loads: what one node has to do with each bucket of the flat buffer.
//
// Follows comm/split/partition.h: buckets are cut at blocks from the end of the buffer, each is cut into a slice per
// coordinator, and which coordinator gets which slice rotates with the bucket.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/split_allreduce.h"

namespace ballast {

/// Who shares the work, as numbers: workers are spread evenly over the nodes.
struct Ownership {
  std::int64_t nodes = 1, workers_per_node = 1;
  std::int64_t coordinators = 0;  ///< 0: all workers

  [[nodiscard]] std::int64_t workers() const { return nodes * workers_per_node; }
  [[nodiscard]] std::int64_t owners() const;
};

/// One bucket, from the node that owns most. Its worth in bytes: 4 per element of gradient, `published` for values.
struct BucketLoad {
  std::int64_t begin = 0, end = 0;         ///< flat elements
  std::int64_t owned = 0;                  ///< elements of slices that the node's workers own
  double published = 0.0;                  ///< bytes of the new values of the whole bucket
  std::int64_t slices = 0, my_slices = 0;  ///< that are not empty

  [[nodiscard]] double bytes() const { return 4.0 * static_cast<double>(end - begin); }
  [[nodiscard]] double owned_bytes() const { return 4.0 * static_cast<double>(owned); }
  /// Of the published bytes, those of the node's own slices.
  [[nodiscard]] double owned_published() const;
  [[nodiscard]] double foreign_published() const { return published - owned_published(); }
};

/// In the order in which backward completes them.
[[nodiscard]] std::vector<BucketLoad> cut_loads(const std::vector<Block>& blocks, std::int64_t bucket_bytes,
                                                const Ownership& ownership);

}  // namespace ballast
