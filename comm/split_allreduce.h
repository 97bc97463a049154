// Defines: Block, Slice, GradientCoding, CodingError, Sharding, SplitAllReduceOptions, SplitAllReduce,
// make_split_allreduce.
//
// An all-reduce is a reduce-scatter and an all-gather; the optimizer update fits between the halves and costs no extra
// bytes: partial sums travel to the slice's coordinator while backward still runs, new values travel back. Where the
// host can address the backend's memory, workers of a node read each other's gradients in shared memory and share one
// copy of the values, and slices travel between nodes by messages of MPI. Where it cannot, every worker has its own
// memory and slices travel between devices. Bytes on the wire per worker and step: 2 (N-1)/N of the gradient for N
// nodes or devices of one worker, N dividing the shards. With Sharding::kValues the values travel in every pass
// instead.
//
//   begin_step()
//   gradients(shard), shard_done(..)    backward of every shard of mine, in order; what gradients() gives holds
//   anything
//                                       in the blocks and zero outside them
//   gradients_ready(offset)             during the last one: the end of the buffer is final, its buckets leave
//   reduce()                            returns when every slice of mine holds the sum over all shards
//   ... update my slices in values() / compute_values() ...
//   publish()                           my new values leave
//   use_values(now, next)               returns when everybody's values of `now` can be read here; the next passes ask
//                                       for what they read as they go, and so it arrives beside them
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/shards.h"
#include "compute/backend.h"
#include "compute/error.h"

namespace ballast {

/// The unit of ownership and of norms: a run of at most 8192 elements of one parameter. Blocks lie in rising order and
/// do not overlap.
struct Block {
  std::int64_t begin = 0, end = 0;  ///< flat elements
  DType publish = DType::kF32;      ///< which copy other nodes need: f32 values or the bf16 copy
  bool exact = false;               ///< its gradient is never coded
};

/// Neighbouring blocks of one bucket that one coordinator owns.
struct Slice {
  int bucket = 0;
  int owner = 0;                         ///< rank
  int first_block = 0, block_count = 0;  ///< may be 0
  std::int64_t begin = 0, end = 0;       ///< flat elements, from the first block's begin to the last one's end
};

/// How gradients travel between nodes. With another coding than kF32 every group's gradient is coded, wherever it goes,
/// and the sum is that of what the codes stand for: so it depends on the groups, never on the layout of the workers.
struct GradientCoding {
  Coding coding = Coding::kF32;
  double keep = 0.01;  ///< kTopK: the share of a block's elements
  [[nodiscard]] bool active() const { return coding != Coding::kF32; }
  /// Rounding to bf16 is unbiased enough to go without.
  [[nodiscard]] bool leaves_errors() const { return active() && coding != Coding::kBF16; }
};

/// What coding has left over of a group's gradient, at flat elements [begin, begin + values.size): f32, and state of
/// the training as an optimizer's is.
struct CodingError {
  int group = 0;
  std::int64_t begin = 0;
  DeviceSpan values;
};

/// What a node keeps for the slices of its workers only. Each includes those before it.
enum class Sharding : std::uint8_t {
  kOptimizer,  ///< what the coordinators keep anyway
  kGradients,  ///< sums of gradients: a bucket is summed as soon as all workers have finished it, and freed
  kValues,     ///< values: those of others are gathered before an operation reads them, and freed
};

struct SplitAllReduceOptions {
  int shards = 1;
  /// By rank, in rising order: which shards each worker computes; some may compute none. Empty: shared out evenly.
  std::vector<ShardRange> held;
  int groups = 0;  ///< of neighbouring shards, whose gradients are coded as one; 0: every shard is a group
  GradientCoding coding;
  /// Of new values: what travels is the change of each slice since the last publish(), coded; the first publish() is
  /// exact. Blocks are published as f32 then. For backends whose memory the host can address.
  GradientCoding publish_coding;
  int coordinators = 0;  ///< 0: all workers; K: ranks spread evenly over the world, rank 0 among them
  std::int64_t bucket_bytes = 8 << 20;
  bool share_memory = true;  ///< false: every worker is its own node
  Sharding sharding = Sharding::kOptimizer;
  bool gathers = false;  ///< gather_values() will be called. Not with kValues on several nodes
  // Of backends whose memory the host cannot address:
  std::string plugins;           ///< folder with the transports that are loaded at run time; empty: beside the program
  bool native = false;           ///< the transport adds up as it likes: the bits then depend on the number of workers
  double timeout_seconds = 600;  ///< how long a worker waits for the others before it fails; 0: for ever
};

class SplitAllReduce {
 public:
  SplitAllReduce() = default;
  SplitAllReduce(const SplitAllReduce&) = delete;
  SplitAllReduce& operator=(const SplitAllReduce&) = delete;
  virtual ~SplitAllReduce() = default;

  [[nodiscard]] virtual ShardRange my_shards() const = 0;
  [[nodiscard]] virtual const std::vector<Block>& blocks() const = 0;
  [[nodiscard]] virtual const std::vector<Slice>& slices() const = 0;  ///< of everyone, by bucket and owner
  [[nodiscard]] virtual const std::vector<Slice>& my_slices() const = 0;
  /// f32. Of what use_values() has asked for, only blocks with publish == kF32 are sure to be current; and my own
  /// always.
  [[nodiscard]] virtual DeviceSpan values() const = 0;
  [[nodiscard]] virtual DeviceSpan compute_values() const = 0;  ///< bf16; empty without bf16
  [[nodiscard]] virtual DeviceSpan sum() const = 0;  ///< after reduce(): gradient sums, valid in my slices only
  /// After reduce(), by number of the block: the sum of squares of what sum() holds there; 0 for blocks of others.
  [[nodiscard]] virtual const std::vector<double>& squares() const = 0;
  /// Mine; together with those of the others they cover every block of every group that is coded. Zero at first.
  [[nodiscard]] virtual std::vector<CodingError> coding_errors() const { return {}; }
  /// The same of publish_coding: what the codes of new values have left over in my slices; group 0.
  [[nodiscard]] virtual std::vector<CodingError> publish_errors() const { return {}; }
  /// What the user should know about the way gradients are added here; empty: nothing.
  [[nodiscard]] virtual std::string note() const { return {}; }

  virtual void begin_step() = 0;
  [[nodiscard]] virtual DeviceSpan gradients(int shard) = 0;
  virtual void shard_done(int shard) = 0;
  virtual void gradients_ready(std::int64_t offset) = 0;
  virtual void reduce() = 0;
  /// Also without a step before it: the first values, or those of a checkpoint. Downloads of values that began behind
  /// reduce() must be over.
  virtual void publish() = 0;
  /// Behind publish(), by everybody: returns when values() holds everybody's f32 values here, those of bf16 blocks too.
  virtual void gather_values() { throw Error("SplitAllReduce: values of devices are not gathered"); }
  /// After the first publish(): returns when the flat elements of `now` can be read here, which they can until the next
  /// call. The next calls will ask for `next`, in this order. Nothing is read behind a call with two empty ones, which
  /// has to come before reduce(). With `publish_coding` every worker has to call it between publish() and reduce().
  virtual void use_values(std::span<const ElementRange> now, std::span<const ElementRange> next) = 0;
};

/// Collective. `flat_size` elements; `bf16` asks for the bf16 copy of the values. Memory per node, or per device: 4
/// (+2) bytes per element for values and 4 per element and worker for gradients, times the worker's subtrees. With
/// Sharding::kGradients: 4 bytes per element for the sums, a few buckets per worker, and 4 per element for each subtree
/// that a worker of several shards has behind it. With kValues: values of the node's own slices, and of those buckets
/// that an operation and its successor read. Throws ConfigError for more workers than shards, and for sharding of more
/// than kOptimizer where the host cannot address the backend's memory.
[[nodiscard]] std::unique_ptr<SplitAllReduce> make_split_allreduce(Communicator& world, Backend& backend,
                                                                   std::int64_t flat_size, std::vector<Block> blocks,
                                                                   bool bf16, const SplitAllReduceOptions& options);

}  // namespace ballast
