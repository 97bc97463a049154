// Defines: SplitParts, SumExchange: partial sums on their way to the coordinators on other nodes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/split/node_memory.h"
#include "comm/split/sum_messages.h"
#include "comm/split/sum_plan.h"
#include "comm/split/transfers.h"
#include "compute/backend.h"

namespace ballast {

/// What a SplitAllReduce is made of; outlives its exchanges.
struct SplitParts {
  Transfers& transfers;  ///< of a group of our own: its tags are ours
  Communicator& node;
  Backend& backend;
  const Topology& topology;
  const Partition& partition;
  const NodeMemory& memory;
};

class SumExchange {
 public:
  /// Collective over the node.
  SumExchange(const SplitParts& parts, SumPlan plan, const std::vector<Block>& blocks, const GradientCoding& coding);

  void begin_step();
  /// My buckets below `count` are final in my gradient memory. Sends what the node has finished; gives MPI a turn.
  void finished(int count);
  /// After the node's barrier: sends the rest.
  void finished_by_all();
  /// How many buckets every worker of the node has finished in this step.
  [[nodiscard]] int finished_on_node() const;
  /// Whether everything that my_slices()[index] adds up is here.
  [[nodiscard]] bool arrived(int index) const;
  /// My buckets below `count` are summed. Tells the node in how many of them I have no more to read or to send.
  void summed(int count);
  /// How many buckets no worker of the node has to do with any more: their gradients may go.
  [[nodiscard]] int summed_on_node() const;
  /// Puts the sum over all shards of my_slices()[index] into `sum`, and the sums of squares of its `parts` into
  /// `squares`. Waits for what other nodes send.
  void sum_slice(int index, DeviceSpan sum, std::span<const ElementRange> parts, std::span<double> squares);
  [[nodiscard]] const std::vector<Slice>& my_slices() const { return plan_.my_slices; }
  [[nodiscard]] std::vector<CodingError> coding_errors() const { return messages_.coding_errors(); }

 private:
  using Counter = std::atomic_ref<std::int64_t> (NodeMemory::*)(int neighbour) const;
  [[nodiscard]] int least_on_node(Counter counter) const;
  void send_finished_buckets();
  void send_bucket(int bucket);
  /// Numbers the incoming sums of all my slices: index of arrived_.
  [[nodiscard]] std::size_t incoming_number(int slice, const Addend& addend) const;

  SplitParts parts_;
  SumPlan plan_;
  SumMessages messages_;
  /// Of the messages. Memory of the communicator, not of the backend: see NodeAllReduce.
  std::unique_ptr<SharedSegments> memory_;

  std::vector<std::atomic<bool>> arrived_;  ///< by incoming sum
  std::vector<std::atomic<int>> to_leave_;  ///< by bucket: messages that have not left
  std::int64_t steps_ = 0;                  ///< begun
  std::int64_t buckets_before_ = 0;         ///< of earlier steps
  int next_bucket_ = 0;                     ///< the first that was not sent yet
};

}  // namespace ballast
