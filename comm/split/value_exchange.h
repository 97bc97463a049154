// Defines: ValueExchange: new values on their way from the coordinators to the other nodes.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/split/sum_exchange.h"

namespace ballast {

/// Every node needs a slice once: its owner sends it to one worker there (the slice's contact), which receives straight
/// into the node's shared values. A message is a run of neighbouring blocks of one published type. Messages leave in
/// the order in which forward passes need them: from the first element up.
class ValueExchange {
 public:
  ValueExchange(const SplitParts& parts, const std::vector<Block>& blocks);
  /// Nobody on this node reads values until start(): those of other nodes may arrive.
  void expect();
  /// My slices hold their new values, which may not change before they have left. Calls expect() where that was not.
  void start();
  /// Returns when the values below `end` of the last start() have arrived on this node, whoever received them. Everyone
  /// on the node has called start().
  void wait_for(std::int64_t end);

 private:
  struct Message {
    int partner = 0;
    PublishedRun run;
  };

  void plan_slice(const Slice& slice, const std::vector<Block>& blocks);
  void arrived(std::size_t message);
  [[nodiscard]] DeviceSpan span_of(const PublishedRun& run) const;

  SplitParts parts_;
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
