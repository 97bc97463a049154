// Defines: SumExchange: partial sums on their way to the coordinators on other nodes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/split/node_memory.h"
#include "comm/split/partition.h"
#include "comm/split/shard_stack.h"
#include "comm/split/topology.h"
#include "compute/backend.h"

namespace ballast {

/// What a SplitAllReduce is made of; outlives its exchanges.
struct SplitParts {
  Communicator& world;  ///< a group of our own: its tags are ours
  Communicator& node;
  Backend& backend;
  const Topology& topology;
  const Partition& partition;
  const NodeMemory& memory;
  const std::vector<Fragments>& fragments;  ///< by world rank
  int shards;
};

/// A node first adds up what its workers hold of a slice (one of them, the slice's contact, does it as soon as all have finished the
/// bucket), so one partial sum per node and subtree crosses the wire, not one per worker.
/// Messages of one (contact, owner) pair are sent and posted in rising order of (slice, subtree), so one tag is enough.
class SumExchange {
 public:
  explicit SumExchange(const SplitParts& parts);

  void begin_step();
  /// My buckets below `count` are final in my gradient memory. Sends what the node has finished; gives MPI a turn.
  void finished(int count);
  /// After the node's barrier: sends the rest.
  void finished_by_all();
  /// Puts the sum over all shards of my_slices[index] into `sum`. Waits for what other nodes send.
  void sum_slice(int index, DeviceSpan sum);
  /// Returns when the neighbours' gradients may be overwritten, as far as my messages are concerned.
  void wait_for_sends();

  [[nodiscard]] const std::vector<Slice>& my_slices() const { return my_slices_; }

 private:
  /// A sum in memory of this node: buffer `buffer` of `neighbour`.
  struct Local {
    ShardRange shards;
    int neighbour = 0;
    int buffer = 0;
  };
  struct Outgoing {
    const Slice* slice = nullptr;
    std::vector<Local> locals;  ///< what makes up the subtree
    std::vector<int> program;
    std::int64_t staging = 0;  ///< where the sum goes when there are several: offset in staging_
  };
  struct Addend {
    ShardRange shards;
    Local local;
    int node = -1;  ///< the other node that sends it; -1: local
    int incoming = 0;  ///< number among the incoming ones of a slice
  };

  [[nodiscard]] std::vector<ShardRange> cover_of(int node) const;
  [[nodiscard]] std::vector<Local> locals_of(int node) const;
  void plan_sends();
  void plan_slice(const Slice& slice, std::int64_t& staging);
  void plan_sums();
  void send_bucket(int bucket);
  void send_finished_buckets();
  [[nodiscard]] DeviceSpan incoming_span(int slice, int incoming) const;

  SplitParts parts_;
  std::vector<Slice> my_slices_;
  std::vector<std::vector<Outgoing>> outgoing_;  ///< by bucket
  std::vector<Addend> addends_;                  ///< the same for every slice of mine
  std::vector<int> program_;
  int incoming_per_slice_ = 0;
  std::vector<std::int64_t> incoming_offsets_;  ///< by slice of mine
  Buffer incoming_;
  Buffer staging_;
  std::vector<std::unique_ptr<Request>> sends_;
  std::vector<std::unique_ptr<Request>> receives_;
  std::int64_t finished_before_ = 0;  ///< buckets of earlier steps
  int next_bucket_ = 0;               ///< the first that was not sent yet
};

}  // namespace ballast
