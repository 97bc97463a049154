#include "launcher/plan/exchange.h"

#include <algorithm>
#include <cmath>

#include "compute/compression.h"
#include "compute/error.h"

namespace ballast {
namespace {

/// A bucket's blocks, and which of its slices each is in.
struct Cut {
  BucketLoad load;
  std::vector<std::int64_t> sizes;   // of the blocks
  std::vector<std::int64_t> slices;  // of `owners`, rising
};

/// Slices end at the block borders that are nearest to equal sizes, as cut_buckets finds them: a block is in the slice
/// in which its middle lies.
void cut_slices(std::int64_t owners, Cut& cut) {
  std::int64_t total = 0, before = 0;
  for (const std::int64_t size : cut.sizes) total += size;
  require(total > 0, "cut_slices: a bucket of empty blocks");
  for (const std::int64_t size : cut.sizes) {
    const std::int64_t slice = ((before + size / 2 + 1) * owners + total - 1) / total - 1;
    cut.slices.push_back(std::min(slice, owners - 1));
    before += size;
  }
}

std::int64_t coded_bytes(const Block& block, const GradientCoding& coding) {
  const std::int64_t size = block.end - block.begin;
  const auto kept = std::llround(coding.keep * static_cast<double>(size));
  return 4 * code_words(block.exact ? Coding::kF32 : coding.coding, size, std::clamp<std::int64_t>(kept, 1, size));
}

std::vector<Cut> cut_blocks(const std::vector<Block>& blocks, std::int64_t bucket_bytes, std::int64_t owners,
                            const GradientCoding& coding) {
  std::vector<Cut> cuts;
  for (auto last = blocks.size(); last > 0;) {
    Cut cut;
    cut.load.end = blocks[last - 1].end;
    std::int64_t elements = 0;
    auto first = last;
    do {
      const Block& block = blocks[--first];
      const std::int64_t size = block.end - block.begin;
      cut.sizes.push_back(size);
      cut.load.published += static_cast<double>(size * size_of(block.publish));
      cut.load.coded += static_cast<double>(coded_bytes(block, coding));
      elements += size;
    } while (first > 0 && elements * size_of(DType::kF32) < bucket_bytes);
    std::reverse(cut.sizes.begin(), cut.sizes.end());
    cut.load.begin = blocks[first].begin;
    cut_slices(owners, cut);
    cuts.push_back(std::move(cut));
    last = first;
  }
  return cuts;
}

/// Which owner gets which slice rotates with the bucket; owner i is worker floor(i * workers / owners).
std::int64_t node_of(std::int64_t slice, std::size_t bucket, const Ownership& who) {
  const std::int64_t owners = who.owners();
  const std::int64_t owner = (slice + owners - static_cast<std::int64_t>(bucket) % owners) % owners;
  return owner * who.workers() / owners / who.workers_per_node;
}

std::int64_t busiest_node(const std::vector<Cut>& cuts, const Ownership& who) {
  std::vector<std::int64_t> owned(static_cast<std::size_t>(who.nodes));
  for (std::size_t bucket = 0; bucket < cuts.size(); ++bucket) {
    for (std::size_t b = 0; b < cuts[bucket].sizes.size(); ++b) {
      owned[static_cast<std::size_t>(node_of(cuts[bucket].slices[b], bucket, who))] += cuts[bucket].sizes[b];
    }
  }
  return std::max_element(owned.begin(), owned.end()) - owned.begin();
}

BucketLoad load_of(const Cut& cut, std::size_t bucket, std::int64_t node, const Ownership& who) {
  BucketLoad load = cut.load;
  std::int64_t slice = 0;
  for (std::size_t b = 0; b < cut.sizes.size(); ++b) {
    const bool mine = node_of(cut.slices[b], bucket, who) == node;
    const bool begins = b == 0 || cut.slices[b] != cut.slices[b - 1];
    slice = cut.sizes[b] + (begins ? 0 : slice);
    load.largest_slice = std::max(load.largest_slice, slice);
    load.owned += mine ? cut.sizes[b] : 0;
    load.slices += begins ? 1 : 0;
    load.my_slices += begins && mine ? 1 : 0;
  }
  return load;
}

}  // namespace

std::int64_t Ownership::owners() const { return coordinators > 0 ? std::min(coordinators, workers()) : workers(); }

double Ownership::foreign_share() const {
  const std::int64_t of_node = (owners() + nodes - 1) / nodes;
  return 1.0 - static_cast<double>(of_node) / static_cast<double>(owners());
}

std::vector<BucketLoad> cut_loads(const std::vector<Block>& blocks, std::int64_t bucket_bytes, const Ownership& who,
                                  const GradientCoding& coding) {
  const std::vector<Cut> cuts = cut_blocks(blocks, bucket_bytes, who.owners(), coding);
  const std::int64_t node = busiest_node(cuts, who);
  std::vector<BucketLoad> loads;
  for (std::size_t bucket = 0; bucket < cuts.size(); ++bucket) {
    loads.push_back(load_of(cuts[bucket], bucket, node, who));
  }
  return loads;
}

std::int64_t sum_bytes(const std::vector<Block>& blocks, const GradientCoding& coding) {
  std::int64_t bytes = 0;
  for (const Block& block : blocks) bytes += coded_bytes(block, coding);
  return bytes;
}

}  // namespace ballast
