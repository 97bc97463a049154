#include "comm/split/sum_plan.h"

#include <algorithm>

namespace ballast {
namespace {

/// The largest whole subtrees that the workers of `node` hold together.
std::vector<ShardRange> cover_of(const Topology& topology, int node, int shards) {
  std::vector<ShardRange> runs;
  for (const int rank : topology.members(node)) {
    const ShardRange range = shards_of(rank, topology.workers(), shards);
    if (!runs.empty() && runs.back().end == range.begin) {
      runs.back().end = range.end;
    } else {
      runs.push_back(range);
    }
  }
  std::vector<ShardRange> cover;
  for (const ShardRange& run : runs) {
    const std::vector<ShardRange> held = held_subtrees(run, shards);
    cover.insert(cover.end(), held.begin(), held.end());
  }
  return cover;
}

std::vector<LocalSum> sums_on_my_node(const Topology& topology, const std::vector<Fragments>& fragments) {
  std::vector<LocalSum> locals;
  int neighbour = 0;
  for (const int rank : topology.members(topology.my_node())) {
    int buffer = 0;
    for (const ShardRange& sum : fragments[static_cast<std::size_t>(rank)].sums)
      locals.push_back({sum, neighbour, buffer++});
    ++neighbour;
  }
  return locals;
}

OutgoingSum outgoing_sum(const Slice& slice, ShardRange subtree, const std::vector<LocalSum>& locals) {
  OutgoingSum outgoing{.slice = slice, .parts = {}, .program = {}};
  std::vector<ShardRange> ranges;
  for (const LocalSum& local : locals) {
    if (local.shards.begin < subtree.begin || subtree.end < local.shards.end) continue;
    outgoing.parts.push_back(local);
    ranges.push_back(local.shards);
  }
  outgoing.program = subtree_program(ranges);
  return outgoing;
}

}  // namespace

SumPlan plan_sums(const Topology& topology, const Partition& partition, const std::vector<Fragments>& fragments,
                  int shards) {
  SumPlan plan;
  plan.outgoing.resize(static_cast<std::size_t>(partition.buckets()));
  const int my_node = topology.my_node();
  const std::vector<LocalSum> locals = sums_on_my_node(topology, fragments);
  const std::vector<ShardRange> my_cover = cover_of(topology, my_node, shards);
  for (const Slice& slice : partition.slices) {
    if (slice.block_count == 0) continue;
    if (slice.owner == topology.rank()) plan.my_slices.push_back(slice);
    if (topology.node_of(slice.owner) == my_node) continue;
    if (topology.contact(my_node, slice.owner, slice.bucket) != topology.rank()) continue;
    auto& messages = plan.outgoing[static_cast<std::size_t>(slice.bucket)];
    for (const ShardRange& subtree : my_cover) messages.push_back(outgoing_sum(slice, subtree, locals));
  }

  for (const LocalSum& local : locals) plan.addends.push_back({local.shards, local});
  for (int node = 0; node < topology.nodes(); ++node) {
    if (node == my_node) continue;
    for (const ShardRange& subtree : cover_of(topology, node, shards)) {
      plan.addends.push_back({subtree, {}, node, plan.incoming_per_slice++});
    }
  }
  std::ranges::sort(plan.addends, {}, [](const Addend& addend) { return addend.shards.begin; });
  std::vector<ShardRange> cover;
  cover.reserve(plan.addends.size());
  for (const Addend& addend : plan.addends) cover.push_back(addend.shards);
  plan.program = sum_program(cover, shards);
  return plan;
}

}  // namespace ballast
