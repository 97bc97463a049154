// Defines: ValueExchange: new values on their way from the coordinators to the other nodes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/split/sum_exchange.h"

namespace ballast {

/// Every node needs a slice once: its owner sends it to one worker there (the slice's contact), which receives straight
/// into the node's shared values. A message is a run of neighbouring blocks of one published type.
class ValueExchange {
 public:
  ValueExchange(const SplitParts& parts, const std::vector<Block>& blocks);
  /// Returns when the values that I send and receive are through; the node needs a barrier then.
  void run();

 private:
  struct Message {
    int partner = 0;
    DeviceSpan values;  ///< a run of the node's values or compute values
  };

  [[nodiscard]] std::vector<DeviceSpan> runs_of(const Slice& slice, const std::vector<Block>& blocks) const;
  void plan_sends(const Slice& slice, const std::vector<DeviceSpan>& runs);

  SplitParts parts_;
  std::vector<Message> incoming_;
  std::vector<Message> outgoing_;
};

}  // namespace ballast
