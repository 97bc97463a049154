// Defines: Block, Slice, SplitAllReduceOptions, SplitAllReduce.
//
// An all-reduce is a reduce-scatter and an all-gather; the optimizer update fits between the halves and costs no extra
// bytes. Within a node workers read each other's gradients in shared memory and share one copy of the values. Between
// nodes slices travel by non-blocking messages: partial sums to the slice's coordinator while backward still runs, new
// values back. Bytes on the wire per worker and step: 2 (N-1)/N of the gradient for N one-worker nodes, N dividing the
// shards.
//
//   begin_step()                        gradients of my shards are zero
//   gradients(shard), shard_done(..)    backward of every shard of mine, in order
//   gradients_ready(offset)             during the last one: the end of the buffer is final, its buckets leave
//   reduce()                            returns when every slice of mine holds the sum over all shards
//   ... update my slices in values() / compute_values() ...
//   publish()                           returns when everybody's new values are visible here
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/shards.h"
#include "compute/backend.h"

namespace ballast {

/// The unit of ownership and of norms: a run of at most 8192 elements of one parameter. Blocks lie in rising order and
/// do not overlap.
struct Block {
  std::int64_t begin = 0, end = 0;  ///< flat elements
  DType publish = DType::kF32;      ///< which copy other nodes need: f32 values or the bf16 copy
};

/// Neighbouring blocks of one bucket that one coordinator owns.
struct Slice {
  int bucket = 0;
  int owner = 0;                         ///< rank
  int first_block = 0, block_count = 0;  ///< may be 0
  std::int64_t begin = 0, end = 0;       ///< flat elements, from the first block's begin to the last one's end
};

struct SplitAllReduceOptions {
  int shards = 1;
  int coordinators = 0;  ///< 0: all workers; K: ranks spread evenly over the world, rank 0 among them
  std::int64_t bucket_bytes = 8 << 20;
  bool share_memory = true;  ///< false: every worker is its own node
};

class SplitAllReduce {
 public:
  /// Collective. `flat_size` elements; `bf16` asks for the bf16 copy of the values. Memory per node: 4 (+2) bytes per
  /// element for values and 4 per element and worker for gradients, times the worker's subtrees.
  SplitAllReduce(Communicator& world, Backend& backend, std::int64_t flat_size, std::vector<Block> blocks, bool bf16,
                 const SplitAllReduceOptions& options);
  ~SplitAllReduce();

  [[nodiscard]] ShardRange my_shards() const;
  [[nodiscard]] const std::vector<Block>& blocks() const;
  [[nodiscard]] const std::vector<Slice>& slices() const;  ///< of everyone, by bucket and owner
  [[nodiscard]] const std::vector<Slice>& my_slices() const;
  [[nodiscard]] DeviceSpan values()
      const;  ///< f32, the node's one copy. Between nodes only blocks with publish == kF32 (and my own) are current
  [[nodiscard]] DeviceSpan compute_values() const;  ///< bf16, the node's one copy; empty without bf16
  [[nodiscard]] DeviceSpan sum() const;             ///< after reduce(): gradient sums, valid in my slices only
  /// After reduce(), by number of the block: the sum of squares of what sum() holds there; 0 for blocks of others.
  [[nodiscard]] const std::vector<double>& squares() const;

  void begin_step();
  [[nodiscard]] DeviceSpan gradients(int shard);
  void shard_done(int shard);
  void gradients_ready(std::int64_t offset);
  void reduce();
  void publish();  ///< also without a step before it: the first values, or those of a checkpoint

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast
