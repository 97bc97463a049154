// Defines: NodeAllReduce: the split all-reduce of backends whose memory the host can address.
//
// Within a node workers read each other's gradients in shared memory and share one copy of the values. Between nodes
// slices travel by non-blocking messages.
#pragma once

#include <exception>
#include <memory>
#include <span>
#include <vector>

#include "comm/split/foreign_values.h"
#include "comm/split/shard_gradients.h"
#include "comm/split/sum_exchange.h"
#include "comm/split_allreduce.h"

namespace ballast {

/// Deletes, unless an exception that was not there at the beginning is on its way out: stops the object then.
struct KeepWhenUnwinding {
  int exceptions = std::uncaught_exceptions();
  template <typename T>
  void operator()(T* object) const {
    if (std::uncaught_exceptions() <= exceptions) {
      delete object;
    } else {
      object->stop();
    }
  }
};

/// Who may touch what, and when:
///  * My gradient memory: I write it from begin_step() to the last gradients_ready(). Neighbours read it until their
///    publish(), whose barrier lies before my next begin_step(); with Sharding::kGradients, buckets that they have
///    counted in NodeMemory::summed_buckets() not any more. The sum goes to buffer 0 of its owner, at elements that
///    only the owner reads.
///  * The node's values: read by all until reduce(), whose barrier lies before every update on this node; written
///    between reduce() and publish() by the owners, and from then until use_values() has asked for them by the contacts
///    that receive from other nodes; disjoint slices all. With Sharding::kValues: see ValueGathering.
class NodeAllReduce final : public SplitAllReduce {
 public:
  /// See make_split_allreduce.
  NodeAllReduce(Communicator& world, Backend& backend, std::int64_t flat_size, std::vector<Block> blocks, bool bf16,
                const SplitAllReduceOptions& options);

  [[nodiscard]] ShardRange my_shards() const override { return gradients_.shards(); }
  [[nodiscard]] const std::vector<Block>& blocks() const override { return shared_->blocks; }
  [[nodiscard]] const std::vector<Slice>& slices() const override { return shared_->partition.slices; }
  [[nodiscard]] const std::vector<Slice>& my_slices() const override { return shared_->sums.my_slices(); }
  [[nodiscard]] DeviceSpan values() const override { return shared_->memory.values(); }
  [[nodiscard]] DeviceSpan compute_values() const override { return shared_->memory.compute_values(); }
  [[nodiscard]] DeviceSpan sum() const override { return gradients_.buffer(0); }
  [[nodiscard]] const std::vector<double>& squares() const override { return squares_; }

  void begin_step() override;
  [[nodiscard]] DeviceSpan gradients(int shard) override { return gradients_.of(shard); }
  void shard_done(int shard) override { gradients_.shard_done(shard); }
  void gradients_ready(std::int64_t offset) override;
  void reduce() override;
  void publish() override;
  void use_values(std::span<const ElementRange> now, std::span<const ElementRange> next) override {
    shared_->values->use(now, next);
  }

 private:
  /// What others read and write, or what waits for others when it is destroyed.
  struct Shared {
    Shared(Communicator& world, Backend& backend, std::int64_t flat_size, std::vector<Block> blocks_given, bool bf16,
           const SplitAllReduceOptions& options);
    Shared(const Shared&) = delete;
    Shared& operator=(const Shared&) = delete;
    ~Shared();
    [[nodiscard]] SplitParts parts(Backend& backend) {
      return {transfers, *node, backend, topology, partition, memory};
    }
    void stop() { transfers.stop(); }

    std::vector<Block> blocks;
    std::unique_ptr<Communicator> group;
    std::unique_ptr<Communicator> node;
    Topology topology;
    Partition partition;
    std::vector<Fragments> fragments;
    NodeMemory memory;
    SumExchange sums;
    std::unique_ptr<ForeignValues> values;
    Transfers transfers;  ///< last: it ends before those whose messages it tells of
  };

  [[nodiscard]] int buffers() const;
  [[nodiscard]] std::vector<DeviceSpan> my_buffers() const;
  [[nodiscard]] ShardGradients::Added freed_when_added() const;
  void sum_next_slice();
  /// Sums what is complete and frees what the whole node is done with. `ready` of my buckets are final.
  void sum_and_free(int ready);
  void free_bucket(int bucket);

  Backend& backend_;
  /// A worker that fails ends with its process. Until then messages may still arrive in this memory, and waiting for
  /// them could hang the job before its error is printed. So all of it stays.
  std::unique_ptr<Shared, KeepWhenUnwinding> shared_;
  ShardGradients gradients_;
  std::vector<std::vector<ElementRange>> slice_parts_;  ///< blocks of my slices, from the slice's begin
  std::vector<double> squares_;
  bool free_gradients_;
  int next_slice_ = 0;  ///< the first of mine that has no sum yet
  int freed_ = 0;       ///< buckets
};

}  // namespace ballast
