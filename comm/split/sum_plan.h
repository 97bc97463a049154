// Defines: LocalSum, PartialSum, OutgoingSum, Addend, SumPlan, plan_sums: which partial sums make up a slice, and which
// of them travel.
#pragma once

#include <vector>

#include "comm/shards.h"
#include "comm/split/partition.h"
#include "comm/split/shard_stack.h"
#include "comm/split/topology.h"

namespace ballast {

/// A partial sum in gradient buffer `buffer` of worker `neighbour` of this node.
struct LocalSum {
  ShardRange shards;
  int neighbour = 0;
  int buffer = 0;
};

/// The sum over a subtree that this node holds, in one part or several.
struct PartialSum {
  ShardRange shards;
  std::vector<LocalSum> parts;
  std::vector<int> program;  ///< adds them in the tree's shape
};

/// One message to the owner of a slice on another node. Several parts are added before.
struct OutgoingSum {
  Slice slice;
  PartialSum sum;
};

/// One addend of every slice of mine.
struct Addend {
  PartialSum sum;    ///< has parts where it is of this node
  int node = -1;     ///< the other node that sends it; -1: it is of this one
  int incoming = 0;  ///< number among those that are sent
};

/// A node first adds up what its workers hold of a slice (one of them, the slice's contact, does), so one partial sum
/// per node and subtree crosses the wire, not one per worker. Messages of one (contact, owner) pair are in rising order
/// of (slice, subtree) on both sides, so one tag is enough.
struct SumPlan {
  std::vector<Slice> my_slices;                    ///< that are not empty
  std::vector<std::vector<OutgoingSum>> outgoing;  ///< mine, by bucket
  std::vector<Addend> addends;                     ///< in order of shards
  std::vector<int> program;                        ///< adds them in the tree's shape
  int incoming_per_slice = 0;
};

/// `whole_groups`: the addends are the groups' sums. Throws ConfigError, naming the group, where the shards of one lie
/// on several nodes.
[[nodiscard]] SumPlan plan_sums(const Topology& topology, const Partition& partition, const ShardLayout& layout,
                                bool whole_groups);

}  // namespace ballast
