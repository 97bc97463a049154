#include "runtime/data/first_look.h"

#include <algorithm>
#include <numeric>

namespace ballast {
namespace {

constexpr std::int64_t kBlock = std::int64_t{1} << 20;
constexpr std::int64_t kBlocks = 64;

}  // namespace

std::vector<Extent> first_look(std::span<const std::int64_t> sizes) {
  const std::int64_t total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  const bool whole = total <= kBlocks * kBlock;
  const std::int64_t blocks = whole ? (total + kBlock - 1) / kBlock : kBlocks;
  std::vector<Extent> extents;
  std::size_t part = 0;
  std::int64_t part_begin = 0;  // of `part` among all bytes
  for (std::int64_t block = 0; block < blocks; ++block) {
    std::int64_t at = whole ? block * kBlock : (total - kBlock) / (kBlocks - 1) * block;
    if (!whole && block + 1 == kBlocks) at = total - kBlock;
    const std::int64_t end = std::min(at + kBlock, total);
    while (at < end) {
      for (; at >= part_begin + sizes[part]; ++part) part_begin += sizes[part];
      const std::int64_t stop = std::min(end, part_begin + sizes[part]);
      extents.push_back({part, at - part_begin, stop - at});
      at = stop;
    }
  }
  return extents;
}

}  // namespace ballast
