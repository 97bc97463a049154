// Defines: ShardGradients: the gradient buffers of one worker from begin_step() to publish(), and the order of the
// calls.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comm/split/partition.h"
#include "comm/split/shard_stack.h"
#include "compute/backend.h"

namespace ballast {

/// Adds up the worker's shards in the tree's shape, bucket by bucket as backward completes them. Throws Error where a
/// call is out of order.
class ShardGradients {
 public:
  /// Called for elements of a buffer that were added to a lower one.
  using Added = std::function<void(int buffer, ElementRange elements)>;

  /// `buffers`: one, and as many as fragments_of(layout.of(rank)) says. `layout` and `partition` must outlive it.
  /// `added` may be empty.
  ShardGradients(Backend& backend, const ShardLayout& layout, int rank, std::vector<DeviceSpan> buffers,
                 const Partition& partition, Added added = {});

  void begin_step();
  [[nodiscard]] DeviceSpan of(int shard);  ///< holds anything at the first call for a shard
  void shard_done(int shard);
  /// The open shard's elements from `offset` on are final. Returns how many buckets are final in my memory: none before
  /// the last shard.
  int ready_buckets(std::int64_t offset);
  void begin_reduce();
  void begin_publish();
  [[nodiscard]] bool reduced() const { return phase_ == Phase::kReduced; }

  [[nodiscard]] ShardRange shards() const { return mine_; }
  [[nodiscard]] DeviceSpan buffer(int index) const { return buffers_[static_cast<std::size_t>(index)]; }

 private:
  enum class Phase : std::uint8_t { kIdle, kGradients, kReduced };

  [[nodiscard]] bool last_shard() const { return next_shard_ + 1 >= mine_.end; }
  /// Adds what is ready of the partial sums on top of the stack into the lowest of them.
  void add_ready(int before);

  Backend& backend_;
  ShardRange mine_;
  std::vector<DeviceSpan> buffers_;
  const Partition& partition_;
  Added added_;
  ShardStack stack_;
  Phase phase_ = Phase::kIdle;
  int next_shard_ = 0;
  int open_shard_ = -1;
  int ready_ = 0;  ///< buckets final in the open shard
};

}  // namespace ballast
