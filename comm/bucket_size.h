// Defines: auto_bucket_bytes: how large the buckets of a gradient should be on a network.
//
// G bytes of gradient leave in G / b buckets of b bytes, while backward runs. A bucket is cut into N slices, one for
// each coordinator; K nodes share these, at most s to a node. So the busiest link carries (K - 1) s messages of b / N
// bytes for a bucket, and a message takes alpha + bytes / beta. Two shares of a step depend on b:
//
//   ends      (K - 1) s (b / N) / beta  Where computing is the bottleneck: the last bucket holds the first layers, so
//                                       it is complete when backward is over, and nothing hides its way. Where the
//                                       network is: until the first bucket is complete the link has nothing to do, and
//                                       making a bucket takes less than sending it.
//   messages  (G / b) (K - 1) s alpha   Of a message longer than a piece, only the last piece, which is not full,
//                                       counts here: full pieces are as many whatever b is.
//
// The sum is least where both are equal, at b = sqrt(N G alpha beta). It is the known optimum of a pipeline's segment;
// S. Shi, X. Chu, B. Li, "MG-WFBP: Efficient Data Communication for Distributed Synchronous SGD Algorithms", INFOCOM
// 2019, merge gradients of layers by the same two terms. New values, on their way back beside the next forward pass,
// travel in the same messages and are not counted.
//
// A bucket costs more than its messages where the workers compute on every core: alpha is measured before, while there
// is nothing else to do. With comm.sharding = "values", each is also asked for, waited for and given back, several
// times a step. So none is smaller than 1 MiB: `gpt` of 3.3 million weights on hosts with links of 1 Gbit/s took 14 %
// (two hosts) and 32 % (four) longer with 0.25 MiB, and other levels were within 4 % of what the formula alone gave.
#pragma once

#include <cstdint>

#include "comm/link_cost.h"

namespace ballast {

inline constexpr std::int64_t kLeastBucketBytes = 1 << 20;
inline constexpr std::int64_t kMostBucketBytes = 64 << 20;

/// The power of two next to sqrt(N G alpha beta) for N `coordinators` and G `gradient_bytes` (f32), within the bounds
/// above. A power of two, so that the answer is mostly the same from one measurement to the next.
[[nodiscard]] std::int64_t auto_bucket_bytes(std::int64_t gradient_bytes, std::int64_t coordinators,
                                             const LinkCost& link);

}  // namespace ballast
