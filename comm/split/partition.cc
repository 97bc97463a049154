#include "comm/split/partition.h"

#include <algorithm>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::int64_t kElementBytes = 4;

std::int64_t elements_of(const std::vector<Block>& blocks, int first, int last) {
  std::int64_t elements = 0;
  for (int b = first; b < last; ++b) elements += blocks[b].end - blocks[b].begin;
  return elements;
}

/// Borders, as block numbers, that cut blocks [first, last) into `parts` runs: border i is where the running size is
/// nearest to i / parts.
std::vector<int> borders_of(const std::vector<Block>& blocks, int first, int last, int parts) {
  const std::int64_t total = elements_of(blocks, first, last);
  std::vector<int> borders{first};
  std::int64_t before = 0;
  int block = first;
  for (int i = 1; i < parts; ++i) {
    const std::int64_t target = total * i / parts;
    for (; block < last; ++block) {
      const std::int64_t size = blocks[block].end - blocks[block].begin;
      if (before + size / 2 >= target) break;
      before += size;
    }
    borders.push_back(block);
  }
  borders.push_back(last);
  return borders;
}

void append_slices(const std::vector<Block>& blocks, int first, int last, const std::vector<int>& owners,
                   Partition& partition) {
  const int bucket = partition.buckets();
  const int parts = static_cast<int>(owners.size());
  const std::vector<int> borders = borders_of(blocks, first, last, parts);
  for (int i = 0; i < parts; ++i) {
    const int run = (i + bucket) % parts;
    Slice slice{.bucket = bucket,
                .owner = owners[i],
                .first_block = borders[run],
                .block_count = borders[run + 1] - borders[run]};
    if (slice.block_count > 0) {
      slice.begin = blocks[borders[run]].begin;
      slice.end = blocks[borders[run + 1] - 1].end;
    }
    partition.slices.push_back(slice);
  }
  partition.begins.push_back(blocks[first].begin);
}

}  // namespace

std::vector<int> coordinator_ranks(int coordinators, int workers) {
  if (coordinators < 0)
    throw ConfigError("comm.coordinators = " + std::to_string(coordinators) + ": must not be negative");
  const int count = coordinators == 0 ? workers : std::min(coordinators, workers);
  std::vector<int> ranks;
  for (std::int64_t i = 0; i < count; ++i) ranks.push_back(static_cast<int>(i * workers / count));
  return ranks;
}

Partition cut_buckets(const std::vector<Block>& blocks, std::int64_t bucket_bytes, const std::vector<int>& owners) {
  Partition partition;
  int last = static_cast<int>(blocks.size());
  std::int64_t elements = 0;
  for (int first = last - 1; first >= 0; --first) {
    elements += blocks[first].end - blocks[first].begin;
    if (elements * kElementBytes < bucket_bytes && first > 0) continue;
    append_slices(blocks, first, last, owners, partition);
    last = first;
    elements = 0;
  }
  return partition;
}

std::vector<std::vector<ElementRange>> blocks_in(const std::vector<Slice>& slices, const std::vector<Block>& blocks) {
  std::vector<std::vector<ElementRange>> parts;
  for (const Slice& slice : slices) {
    auto& ranges = parts.emplace_back();
    for (int b = slice.first_block; b < slice.first_block + slice.block_count; ++b) {
      const Block& block = blocks[static_cast<std::size_t>(b)];
      ranges.push_back({block.begin - slice.begin, block.end - slice.begin});
    }
  }
  return parts;
}

std::vector<PublishedRun> published_runs(const Slice& slice, const std::vector<Block>& blocks) {
  std::vector<PublishedRun> runs;
  for (int b = slice.first_block; b < slice.first_block + slice.block_count; ++b) {
    const Block& block = blocks[static_cast<std::size_t>(b)];
    if (runs.empty() || runs.back().dtype != block.publish) runs.push_back({block.begin, block.end, block.publish});
    runs.back().end = block.end;
  }
  return runs;
}

}  // namespace ballast
