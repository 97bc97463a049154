#include "comm/bucket_size.h"

#include <algorithm>
#include <cmath>

namespace ballast {

std::int64_t auto_bucket_bytes(std::int64_t gradient_bytes, std::int64_t coordinators, const LinkCost& link) {
  const double best = std::sqrt(static_cast<double>(coordinators) * static_cast<double>(gradient_bytes) *
                                link.piece_seconds * link.bytes_per_second);
  const double bounded =
      std::clamp(best, static_cast<double>(kLeastBucketBytes), static_cast<double>(kMostBucketBytes));
  return std::int64_t{1} << std::llround(std::log2(bounded));
}

}  // namespace ballast
