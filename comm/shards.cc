#include "comm/shards.h"

#include <bit>
#include <cstddef>
#include <string>

#include "compute/error.h"

namespace ballast {
namespace {

/// Where node [begin, end) of the tree splits: after the largest power of two that leaves the right child something.
int middle_of(ShardRange node) {
  const auto length = static_cast<unsigned>(node.end - node.begin);
  return node.begin + static_cast<int>(std::bit_floor(length - 1));
}

void collect_held(ShardRange node, ShardRange range, std::vector<ShardRange>& held) {
  if (node.end <= range.begin || range.end <= node.begin) return;
  if (range.begin <= node.begin && node.end <= range.end) {
    held.push_back(node);
    return;
  }
  const int middle = middle_of(node);
  collect_held({node.begin, middle}, range, held);
  collect_held({middle, node.end}, range, held);
}

void append_program(ShardRange node, const std::vector<ShardRange>& cover, std::size_t& next,
                    std::vector<int>& program) {
  require(next < cover.size(), "sum_program: the cover ends before the last shard");
  if (cover[next] == node) {
    program.push_back(static_cast<int>(next++));
    return;
  }
  require(node.end - node.begin > 1, "sum_program: the cover has an element that is no subtree, or is out of order");
  const int middle = middle_of(node);
  append_program({node.begin, middle}, cover, next, program);
  append_program({middle, node.end}, cover, next, program);
  program.push_back(-1);
}

}  // namespace

void require_shards_for(int workers, int shards) {
  if (workers <= shards) return;
  const std::string s = std::to_string(shards);
  throw ConfigError(std::to_string(workers) + " workers but batch.shards = " + s + ": start at most " + s +
                    " workers or set batch.shards to at least " + std::to_string(workers));
}

ShardRange shards_of(int rank, int workers, int shards) {
  require(0 <= rank && rank < workers && workers <= shards, "shards_of: needs 0 <= rank < workers <= shards");
  const int smaller = shards / workers;
  const int larger_ones = shards % workers;
  const int begin = rank * smaller + (rank < larger_ones ? rank : larger_ones);
  return {begin, begin + smaller + (rank < larger_ones ? 1 : 0)};
}

std::vector<ShardRange> held_subtrees(ShardRange range, int shards) {
  require(0 <= range.begin && range.begin <= range.end && range.end <= shards,
          "held_subtrees: range outside the shards");
  std::vector<ShardRange> held;
  if (range.begin < range.end) collect_held({0, shards}, range, held);
  return held;
}

std::vector<int> sum_program(const std::vector<ShardRange>& cover, int shards) {
  require(shards >= 1, "sum_program: needs at least one shard");
  std::vector<int> program;
  std::size_t next = 0;
  append_program({0, shards}, cover, next, program);
  require(next == cover.size(), "sum_program: the cover goes on after the last shard");
  return program;
}

}  // namespace ballast
