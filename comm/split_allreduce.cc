#include "comm/split_allreduce.h"

#include <exception>
#include <string>

#include "comm/split/node_memory.h"
#include "comm/split/partition.h"
#include "comm/split/shard_stack.h"
#include "comm/split/sum_exchange.h"
#include "comm/split/topology.h"
#include "comm/split/value_exchange.h"
#include "compute/error.h"

namespace ballast {
namespace {

void check_arguments(int workers, std::int64_t flat_size, const std::vector<Block>& blocks, bool bf16, int shards) {
  if (workers > shards) {
    const std::string s = std::to_string(shards);
    throw ConfigError(std::to_string(workers) + " workers but batch.shards = " + s + ": start at most " + s +
                      " workers or set batch.shards to at least " + std::to_string(workers));
  }
  std::int64_t end = 0;
  for (const Block& block : blocks) {
    require(end <= block.begin && block.begin < block.end && block.end <= flat_size,
            "SplitAllReduce: blocks must be in rising order, apart and inside the flat buffer");
    require(block.publish == DType::kF32 || (bf16 && block.publish == DType::kBF16),
            "SplitAllReduce: a block's published type must be f32, or bf16 where there is a bf16 copy");
    end = block.end;
  }
}

std::vector<Fragments> all_fragments(int workers, int shards) {
  std::vector<Fragments> fragments;
  fragments.reserve(static_cast<std::size_t>(workers));
  for (int rank = 0; rank < workers; ++rank)
    fragments.push_back(fragments_of(shards_of(rank, workers, shards), shards));
  return fragments;
}

}  // namespace

/// Who may touch what, and when:
///  * My gradient memory: I write it from begin_step() to the last gradients_ready(). Neighbours read it until their
///  publish(), whose
///    barrier lies before my next begin_step(). The sum goes to buffer 0 of its owner, at elements that only the owner
///    reads.
///  * The node's values: read by all until reduce(), whose barrier lies before every update on this node; written
///  between reduce() and
///    publish() by the owners, and inside publish() by the contacts that receive from other nodes; disjoint slices all.
class SplitAllReduce::Impl {
 public:
  Impl(Communicator& world, Backend& backend, std::int64_t flat_size, std::vector<Block> blocks, bool bf16,
       const SplitAllReduceOptions& options)
      : blocks_(std::move(blocks)),
        group_(world.split(0)),
        node_(options.share_memory ? group_->split_by_node() : group_->split(group_->rank())),
        backend_(backend),
        topology_(*group_, *node_),
        partition_(cut_buckets(blocks_, options.bucket_bytes, coordinator_ranks(options.coordinators, world.size()))),
        shards_(shards_of(world.rank(), world.size(), options.shards)),
        fragments_(all_fragments(world.size(), options.shards)),
        memory_(*node_, flat_size, bf16, fragments_[static_cast<std::size_t>(world.rank())].buffers),
        stack_(options.shards),
        sums_(parts(), plan_sums(topology_, partition_, fragments_, options.shards)),
        values_(parts(), blocks_),
        squares_(blocks_.size(), 0.0) {
    for (const Slice& slice : my_slices()) {
      auto& parts_of_slice = slice_parts_.emplace_back();
      for (int b = slice.first_block; b < slice.first_block + slice.block_count; ++b) {
        const Block& block = blocks_[static_cast<std::size_t>(b)];
        parts_of_slice.push_back({block.begin - slice.begin, block.end - slice.begin});
      }
    }
  }

  void begin_step() {
    require(phase_ == Phase::kIdle, "SplitAllReduce: begin_step() before the last step's publish()");
    phase_ = Phase::kGradients;
    next_shard_ = shards_.begin;
    open_shard_ = -1;
    ready_ = 0;
    stack_.clear();
    sums_.begin_step();
  }

  DeviceSpan gradients(int shard) {
    require(phase_ == Phase::kGradients && shard == next_shard_,
            "SplitAllReduce: gradients() of a shard that is not next");
    const int buffer = static_cast<int>(stack_.sums().size()) - (open_shard_ == shard ? 1 : 0);
    const DeviceSpan gradients = memory_.gradients(node_->rank(), buffer);
    if (open_shard_ == shard) return gradients;
    stack_.push(shard);
    open_shard_ = shard;
    backend_.zero(gradients);
    return gradients;
  }

  void shard_done(int shard) {
    require(open_shard_ == shard, "SplitAllReduce: shard_done() without gradients()");
    open_shard_ = -1;
    ++next_shard_;
    if (next_shard_ == shards_.end) return;  // its additions are part of the final sum
    const int count = stack_.mergeable();
    if (count > 1) add_top(count);
    stack_.merge(count);
  }

  void gradients_ready(std::int64_t offset) {
    require(next_shard_ + 1 >= shards_.end, "SplitAllReduce: gradients_ready() before the last shard");
    while (ready_ < partition_.buckets() && offset <= partition_.begins[static_cast<std::size_t>(ready_)]) ++ready_;
    sums_.finished(ready_);
  }

  void reduce() {
    require(phase_ == Phase::kGradients && next_shard_ == shards_.end,
            "SplitAllReduce: reduce() before the last shard_done()");
    phase_ = Phase::kReduced;
    sums_.finished(partition_.buckets());
    backend_.synchronize();
    node_->barrier();
    sums_.finished_by_all();
    for (int i = 0; i < static_cast<int>(my_slices().size()); ++i) {
      const Slice& slice = my_slices()[static_cast<std::size_t>(i)];
      sums_.sum_slice(i, sum().subspan(slice.begin, slice.end - slice.begin), slice_parts_[static_cast<std::size_t>(i)],
                      std::span(squares_).subspan(static_cast<std::size_t>(slice.first_block),
                                                  static_cast<std::size_t>(slice.block_count)));
    }
    backend_.synchronize();
  }

  void publish() {
    require(phase_ != Phase::kGradients, "SplitAllReduce: publish() between begin_step() and reduce()");
    phase_ = Phase::kIdle;
    backend_.synchronize();
    values_.run();
    sums_.wait_for_sends();
    node_->barrier();
  }

  [[nodiscard]] ShardRange shards() const { return shards_; }
  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }
  [[nodiscard]] const std::vector<Slice>& slices() const { return partition_.slices; }
  [[nodiscard]] const std::vector<Slice>& my_slices() const { return sums_.my_slices(); }
  [[nodiscard]] const NodeMemory& memory() const { return memory_; }
  [[nodiscard]] DeviceSpan sum() const { return memory_.gradients(node_->rank(), 0); }
  [[nodiscard]] const std::vector<double>& squares() const { return squares_; }
  [[nodiscard]] bool unwinding() const { return std::uncaught_exceptions() > exceptions_; }

 private:
  enum class Phase : std::uint8_t { kIdle, kGradients, kReduced };

  [[nodiscard]] SplitParts parts() const { return {*group_, *node_, backend_, topology_, partition_, memory_}; }

  /// Adds the `count` partial sums on top of the stack into the lowest of them.
  void add_top(int count) {
    const auto bottom = stack_.sums().size() - static_cast<std::size_t>(count);
    const std::vector<ShardRange> ranges(stack_.sums().begin() + static_cast<std::ptrdiff_t>(bottom),
                                         stack_.sums().end());
    std::vector<ConstDeviceSpan> sums;
    sums.reserve(ranges.size());
    for (int i = 0; i < count; ++i) sums.push_back(memory_.gradients(node_->rank(), static_cast<int>(bottom) + i));
    backend_.ordered_sum(sums, subtree_program(ranges), memory_.gradients(node_->rank(), static_cast<int>(bottom)));
  }

  std::vector<Block> blocks_;
  std::unique_ptr<Communicator> group_;
  std::unique_ptr<Communicator> node_;
  Backend& backend_;
  Topology topology_;
  Partition partition_;
  ShardRange shards_;
  std::vector<Fragments> fragments_;
  NodeMemory memory_;
  ShardStack stack_;
  SumExchange sums_;
  ValueExchange values_;
  std::vector<std::vector<ElementRange>> slice_parts_;  ///< blocks of my slices, from the slice's begin
  std::vector<double> squares_;
  Phase phase_ = Phase::kIdle;
  int next_shard_ = 0;
  int open_shard_ = -1;
  int ready_ = 0;  ///< buckets final in my memory
  int exceptions_ = std::uncaught_exceptions();
};

SplitAllReduce::SplitAllReduce(Communicator& world, Backend& backend, std::int64_t flat_size, std::vector<Block> blocks,
                               bool bf16, const SplitAllReduceOptions& options) {
  check_arguments(world.size(), flat_size, blocks, bf16, options.shards);
  impl_ = std::make_unique<Impl>(world, backend, flat_size, std::move(blocks), bf16, options);
}

SplitAllReduce::~SplitAllReduce() {
  // A worker that fails ends with its process. Until then messages may still arrive in this memory, and waiting for
  // them could hang the job before its error is printed. So all of it stays.
  if (impl_ != nullptr && impl_->unwinding()) static_cast<void>(impl_.release());
}

ShardRange SplitAllReduce::my_shards() const { return impl_->shards(); }
const std::vector<Block>& SplitAllReduce::blocks() const { return impl_->blocks(); }
const std::vector<Slice>& SplitAllReduce::slices() const { return impl_->slices(); }
const std::vector<Slice>& SplitAllReduce::my_slices() const { return impl_->my_slices(); }
DeviceSpan SplitAllReduce::values() const { return impl_->memory().values(); }
DeviceSpan SplitAllReduce::compute_values() const { return impl_->memory().compute_values(); }
DeviceSpan SplitAllReduce::sum() const { return impl_->sum(); }
const std::vector<double>& SplitAllReduce::squares() const { return impl_->squares(); }
void SplitAllReduce::begin_step() { impl_->begin_step(); }
DeviceSpan SplitAllReduce::gradients(int shard) { return impl_->gradients(shard); }
void SplitAllReduce::shard_done(int shard) { impl_->shard_done(shard); }
void SplitAllReduce::gradients_ready(std::int64_t offset) { impl_->gradients_ready(offset); }
void SplitAllReduce::reduce() { impl_->reduce(); }
void SplitAllReduce::publish() { impl_->publish(); }

}  // namespace ballast
