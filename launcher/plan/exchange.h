// Defines: Ownership, BucketLoad, cut_loads, sum_bytes: what one node has to do with each bucket of the flat buffer.
//
// Follows comm/split/partition.h: buckets are cut at blocks from the end of the buffer, each is cut into a slice per
// coordinator, and which coordinator gets which slice rotates with the bucket. Codes are those of
// comm/split/slice_code.h.
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
  /// Of all elements, those that the workers of other nodes own, seen from a node with most owners.
  [[nodiscard]] double foreign_share() const;
};

/// One bucket, from the node that owns most.
struct BucketLoad {
  std::int64_t begin = 0, end = 0;         ///< flat elements
  std::int64_t owned = 0;                  ///< elements of slices that the node's workers own
  double published = 0.0;                  ///< bytes of the new values of the whole bucket
  double coded = 0.0;                      ///< bytes of one sum of the whole bucket as it travels
  std::int64_t slices = 0, my_slices = 0;  ///< that are not empty
  std::int64_t largest_slice = 0;          ///< elements

  [[nodiscard]] double elements() const { return static_cast<double>(end - begin); }
  [[nodiscard]] double foreign() const { return static_cast<double>(end - begin - owned); }
  /// Of the published and of the coded bytes, those of the node's own slices and the others.
  [[nodiscard]] double owned_published() const { return published * owned_share(); }
  [[nodiscard]] double foreign_published() const { return published - owned_published(); }
  [[nodiscard]] double owned_coded() const { return coded * owned_share(); }
  [[nodiscard]] double foreign_coded() const { return coded - owned_coded(); }

 private:
  [[nodiscard]] double owned_share() const { return end > begin ? static_cast<double>(owned) / elements() : 0.0; }
};

/// In the order in which backward completes them. `coding`: how sums travel.
[[nodiscard]] std::vector<BucketLoad> cut_loads(const std::vector<Block>& blocks, std::int64_t bucket_bytes,
                                                const Ownership& ownership, const GradientCoding& coding = {});

/// Of a sum of all blocks as it travels.
[[nodiscard]] std::int64_t sum_bytes(const std::vector<Block>& blocks, const GradientCoding& coding);

}  // namespace ballast
