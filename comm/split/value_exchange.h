// Defines: ValueExchange: all values on every node.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/split/foreign_values.h"
#include "comm/split/sum_exchange.h"

namespace ballast {

/// Every node needs a slice once: its owner sends it to one worker there (the slice's contact), which receives straight
/// into the node's shared values. A message is a run of neighbouring blocks of one published type. Messages leave in
/// the order in which forward passes need them: from the first element up.
class ValueExchange final : public ForeignValues {
 public:
  /// What makes exchanges beside each other different: how their messages are marked, and who counts them.
  struct Channel {
    int tag = 2;
    std::atomic_ref<std::int64_t> (NodeMemory::*arrived)(int neighbour) const = &NodeMemory::arrived_values;
  };
  ValueExchange(const SplitParts& parts, const std::vector<Block>& blocks) : ValueExchange(parts, blocks, Channel()) {}
  ValueExchange(const SplitParts& parts, const std::vector<Block>& blocks, const Channel& channel);
  /// Values of other nodes may arrive.
  void expect() override;
  void wait_for_readers() override {}  // they have what they read
  /// My values may not change before they have left. Calls expect() where that was not.
  void start() override;
  /// Returns when the values up to the end of `now` of the last start() have arrived on this node, whoever received
  /// them.
  void use(std::span<const ElementRange> now, std::span<const ElementRange> next) override;
  void end() override {}

 private:
  struct Message {
    int partner = 0;
    PublishedRun run;
  };

  void plan_slice(const Slice& slice, const std::vector<Block>& blocks);
  void arrived(std::size_t message);
  void wait_for(std::int64_t end);
  [[nodiscard]] DeviceSpan span_of(const PublishedRun& run) const;

  SplitParts parts_;
  Channel channel_;
  std::vector<Message> incoming_;
  std::vector<Message> outgoing_;
  std::vector<std::vector<std::int64_t>> begins_;  ///< by neighbour: where the messages that it receives begin; rising
  std::vector<bool> here_;                         ///< by incoming message
  std::size_t here_count_ = 0;                     ///< messages without a gap before them that are here
  std::int64_t started_ = 0;
  std::int64_t waited_for_ = 0;  ///< values below it are here
  bool expecting_ = false;
};

}  // namespace ballast
