// Defines: OrderedExchange: partial sums travel to the coordinators, which add them in the tree's shape.
#pragma once

#include <vector>

#include "comm/device/slice_exchange.h"
#include "comm/split/sum_messages.h"

namespace ballast {

/// Same bits for any number of workers. Messages of one pair of workers are in rising order of (bucket, subtree) on
/// both sides, and of (slice, run) for values.
class OrderedExchange final : public SliceExchange {
 public:
  OrderedExchange(DeviceParts parts, const GradientCoding& coding);

  void send_bucket(int bucket) override;
  [[nodiscard]] Addends addends(int index) override;
  void exchange_values() override;
  [[nodiscard]] std::vector<CodingError> coding_errors() const override { return messages_.coding_errors(); }

 private:
  void receive_bucket(int bucket);

  DeviceParts parts_;
  SumMessages messages_;
  Buffer memory_;  ///< of the messages
};

}  // namespace ballast
