#include "comm/split/sum_plan.h"

#include <algorithm>
#include <string>

#include "compute/error.h"

namespace ballast {
namespace {

/// The largest whole subtrees that the workers of `node` hold together.
std::vector<ShardRange> cover_of(const Topology& topology, int node, const ShardLayout& layout) {
  std::vector<ShardRange> runs;
  for (const int rank : topology.members(node)) {
    const ShardRange range = layout.of(rank);
    if (range.begin == range.end) continue;
    if (!runs.empty() && runs.back().end == range.begin) {
      runs.back().end = range.end;
    } else {
      runs.push_back(range);
    }
  }
  std::vector<ShardRange> cover;
  for (const ShardRange& run : runs) {
    const std::vector<ShardRange> held = layout.held(run);
    cover.insert(cover.end(), held.begin(), held.end());
  }
  return cover;
}

std::vector<LocalSum> sums_on_my_node(const Topology& topology, const ShardLayout& layout) {
  std::vector<LocalSum> locals;
  int neighbour = 0;
  for (const int rank : topology.members(topology.my_node())) {
    int buffer = 0;
    for (const ShardRange& sum : fragments_of(layout.of(rank), layout).sums)
      locals.push_back({sum, neighbour, buffer++});
    ++neighbour;
  }
  std::ranges::sort(locals, {}, [](const LocalSum& local) { return local.shards.begin; });
  return locals;
}

PartialSum partial_sum(ShardRange subtree, const std::vector<LocalSum>& locals) {
  PartialSum sum{.shards = subtree, .parts = {}, .program = {}};
  std::vector<ShardRange> ranges;
  for (const LocalSum& local : locals) {
    if (local.shards.begin < subtree.begin || subtree.end < local.shards.end) continue;
    sum.parts.push_back(local);
    ranges.push_back(local.shards);
  }
  sum.program = subtree_program(ranges);
  return sum;
}

void require_whole_groups(const Topology& topology, const ShardLayout& layout) {
  for (int node = 0; node < topology.nodes(); ++node) {
    for (const ShardRange& held : cover_of(topology, node, layout)) {
      if (held.end - held.begin == layout.group) continue;
      throw ConfigError("comm.groups = " + std::to_string(layout.shards / layout.group) + ": the shards of group " +
                        std::to_string(held.begin / layout.group) +
                        " lie on several nodes, but a group's gradient is compressed on one: use up to " +
                        std::to_string(layout.shards) + " groups, or as many workers on every node");
    }
  }
}

}  // namespace

SumPlan plan_sums(const Topology& topology, const Partition& partition, const ShardLayout& layout, bool whole_groups) {
  if (whole_groups) require_whole_groups(topology, layout);
  SumPlan plan;
  plan.outgoing.resize(static_cast<std::size_t>(partition.buckets()));
  const int my_node = topology.my_node();
  const std::vector<LocalSum> locals = sums_on_my_node(topology, layout);
  const std::vector<ShardRange> my_cover = cover_of(topology, my_node, layout);
  for (const Slice& slice : partition.slices) {
    if (slice.block_count == 0) continue;
    if (slice.owner == topology.rank()) plan.my_slices.push_back(slice);
    if (topology.node_of(slice.owner) == my_node) continue;
    if (topology.contact(my_node, slice.owner, slice.bucket) != topology.rank()) continue;
    auto& messages = plan.outgoing[static_cast<std::size_t>(slice.bucket)];
    for (const ShardRange& subtree : my_cover) messages.push_back({slice, partial_sum(subtree, locals)});
  }

  if (whole_groups) {
    for (const ShardRange& subtree : my_cover) plan.addends.push_back({partial_sum(subtree, locals)});
  } else {
    for (const LocalSum& local : locals) plan.addends.push_back({partial_sum(local.shards, {local})});
  }
  for (int node = 0; node < topology.nodes(); ++node) {
    if (node == my_node) continue;
    for (const ShardRange& subtree : cover_of(topology, node, layout)) {
      plan.addends.push_back({{subtree, {}, {}}, node, plan.incoming_per_slice++});
    }
  }
  std::ranges::sort(plan.addends, {}, [](const Addend& addend) { return addend.sum.shards.begin; });
  std::vector<ShardRange> cover;
  cover.reserve(plan.addends.size());
  for (const Addend& addend : plan.addends) cover.push_back(addend.sum.shards);
  plan.program = sum_program(cover, layout.shards);
  return plan;
}

}  // namespace ballast
