// Defines: NativeExchange: the transport's own reduce-scatter and all-gather.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/device/slice_exchange.h"

namespace ballast {

/// Every worker adds up its own shards, the transport adds up the workers: as fast as the transport can, but the bits
/// depend on the number of workers. The transport wants equal parts, so slices are laid out in slots as long as the
/// longest. Memory: 4 bytes per element for sums, and 4 or 2 for values.
class NativeExchange final : public SliceExchange {
 public:
  explicit NativeExchange(DeviceParts parts);

  void send_bucket(int bucket) override;
  [[nodiscard]] Addends addends(int index) override;
  void exchange_values() override;

 private:
  /// A bucket's slices, one slot per worker.
  struct BucketSlots {
    std::int64_t offset = 0;  ///< of its slots of all workers, in elements of sums_; of mine in received_: / workers
    std::int64_t slot = 0;    ///< elements
  };
  /// Published runs of one type, one slot per worker.
  struct PackedRun {
    DeviceSpan values;
    int owner = 0;
    std::int64_t offset = 0;  ///< in the owner's slot
  };
  struct PackedValues {
    std::vector<PackedRun> runs;
    std::int64_t slot = 0;
    Buffer buffer;
  };

  [[nodiscard]] std::vector<BucketSlots> cut_slots() const;
  [[nodiscard]] PackedValues pack(DType dtype) const;
  [[nodiscard]] DeviceSpan received(const BucketSlots& bucket) const;
  void gather(PackedValues& packed);
  void unpack(const PackedValues& packed);

  DeviceParts parts_;
  std::vector<BucketSlots> buckets_;
  Buffer sums_, received_;
  PackedValues f32_, bf16_;
};

}  // namespace ballast
