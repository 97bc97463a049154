// Defines: DeviceAllReduce: the split all-reduce of backends whose memory the host cannot address.
//
// Every worker has its own values and gradients on its device. A bucket leaves while backward still runs; when it has
// arrived, its coordinators' devices add it up. The host waits in reduce() and publish() only, and asks for failures
// while it does, so that a worker that is gone ends the job instead of hanging it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/device/slice_exchange.h"
#include "comm/split/shard_gradients.h"
#include "comm/split_allreduce.h"

namespace ballast {

class DeviceAllReduce final : public SplitAllReduce {
 public:
  /// See make_split_allreduce. `exchange` is not null; NoExchange for a single worker.
  DeviceAllReduce(Communicator& world, Backend& backend, std::int64_t flat_size, std::vector<Block> blocks, bool bf16,
                  const SplitAllReduceOptions& options, std::unique_ptr<DeviceExchange> exchange);

  [[nodiscard]] ShardRange my_shards() const override { return gradients_.shards(); }
  [[nodiscard]] const std::vector<Block>& blocks() const override { return blocks_; }
  [[nodiscard]] const std::vector<Slice>& slices() const override { return partition_.slices; }
  [[nodiscard]] const std::vector<Slice>& my_slices() const override { return plan_.my_slices; }
  [[nodiscard]] DeviceSpan values() const override { return values_.span(); }
  [[nodiscard]] DeviceSpan compute_values() const override { return compute_values_.span(); }
  [[nodiscard]] DeviceSpan sum() const override { return gradients_.buffer(0); }
  [[nodiscard]] const std::vector<double>& squares() const override { return squares_; }
  [[nodiscard]] std::vector<CodingError> coding_errors() const override { return slices_->coding_errors(); }
  [[nodiscard]] std::string note() const override;

  void begin_step() override;
  [[nodiscard]] DeviceSpan gradients(int shard) override { return gradients_.of(shard); }
  void shard_done(int shard) override { gradients_.shard_done(shard); }
  void gradients_ready(std::int64_t offset) override;
  void reduce() override;
  void publish() override;
  void use_values(std::span<const ElementRange> /*now*/, std::span<const ElementRange> /*next*/) override {
  }  // publish() has waited

 private:
  [[nodiscard]] std::vector<DeviceSpan> buffer_spans() const;
  [[nodiscard]] DeviceParts parts() const;
  void send_buckets(int end);
  void sum_slice(int index);

  Backend& backend_;
  std::vector<Block> blocks_;
  int rank_, workers_;
  ShardLayout layout_;
  Partition partition_;
  SumPlan plan_;
  Buffer values_, compute_values_;
  std::vector<Buffer> buffers_;  ///< of gradients, one per subtree that I hold at once
  ShardGradients gradients_;
  std::vector<std::vector<ElementRange>> slice_parts_;  ///< blocks of my slices, from the slice's begin
  std::vector<double> squares_;
  bool native_;
  std::vector<int> marks_;  ///< of the buckets that have left in this step
  std::unique_ptr<SliceExchange> slices_;
  std::unique_ptr<DeviceExchange> exchange_;  ///< last: it ends before the memory goes
};

}  // namespace ballast
