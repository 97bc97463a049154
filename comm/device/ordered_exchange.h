// Defines: OrderedExchange: partial sums travel to the coordinators, which add them in the tree's shape.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/device/slice_exchange.h"

namespace ballast {

/// Same bits for any number of workers. Messages of one pair of workers are in rising order of (bucket, subtree) on
/// both sides, and of (slice, run) for values.
class OrderedExchange final : public SliceExchange {
 public:
  explicit OrderedExchange(DeviceParts parts);

  void send_bucket(int bucket) override;
  [[nodiscard]] Addends addends(int index) const override;
  void exchange_values() override;

 private:
  [[nodiscard]] std::int64_t reserve(const Slice& slice);
  [[nodiscard]] DeviceSpan message(std::int64_t offset, const Slice& slice) const;
  [[nodiscard]] DeviceSpan incoming(int index, const Addend& addend) const;
  [[nodiscard]] ConstDeviceSpan outgoing(const OutgoingSum& sum, std::int64_t offset) const;
  void receive_bucket(int bucket);

  DeviceParts parts_;
  // Where messages lie, in elements of messages_. Sums of a single part are sent from where they are.
  std::vector<std::vector<std::int64_t>> outgoing_offsets_;  ///< by bucket, as in the plan
  std::vector<std::int64_t> incoming_offsets_;               ///< by slice of mine and addend that travels
  std::int64_t message_elements_ = 0;
  Buffer messages_;
};

}  // namespace ballast
