#include "comm/split/shard_gradients.h"

#include <utility>

#include "compute/error.h"

namespace ballast {

ShardGradients::ShardGradients(Backend& backend, ShardRange mine, int shards, std::vector<DeviceSpan> buffers,
                               const Partition& partition)
    : backend_(backend), mine_(mine), buffers_(std::move(buffers)), partition_(partition), stack_(shards) {}

void ShardGradients::begin_step() {
  require(phase_ == Phase::kIdle, "SplitAllReduce: begin_step() before the last step's publish()");
  phase_ = Phase::kGradients;
  next_shard_ = mine_.begin;
  open_shard_ = -1;
  ready_ = 0;
  stack_.clear();
}

DeviceSpan ShardGradients::of(int shard) {
  require(phase_ == Phase::kGradients && shard == next_shard_,
          "SplitAllReduce: gradients() of a shard that is not next");
  const int top = static_cast<int>(stack_.sums().size());
  if (open_shard_ == shard) return buffer(top - 1);
  stack_.push(shard);
  open_shard_ = shard;
  return buffer(top);
}

void ShardGradients::shard_done(int shard) {
  require(open_shard_ == shard, "SplitAllReduce: shard_done() without gradients()");
  open_shard_ = -1;
  ++next_shard_;
  if (next_shard_ == mine_.end) return;  // its additions are part of the final sum
  const int count = stack_.mergeable();
  if (count > 1) add_top(count);
  stack_.merge(count);
}

int ShardGradients::ready_buckets(std::int64_t offset) {
  require(next_shard_ + 1 >= mine_.end, "SplitAllReduce: gradients_ready() before the last shard");
  while (ready_ < partition_.buckets() && offset <= partition_.begins[static_cast<std::size_t>(ready_)]) ++ready_;
  return ready_;
}

void ShardGradients::begin_reduce() {
  require(phase_ == Phase::kGradients && next_shard_ == mine_.end,
          "SplitAllReduce: reduce() before the last shard_done()");
  phase_ = Phase::kReduced;
}

void ShardGradients::begin_publish() {
  require(phase_ != Phase::kGradients, "SplitAllReduce: publish() between begin_step() and reduce()");
  phase_ = Phase::kIdle;
}

/// Adds the `count` partial sums on top of the stack into the lowest of them.
void ShardGradients::add_top(int count) {
  const auto bottom = static_cast<std::ptrdiff_t>(stack_.sums().size()) - count;
  const std::vector<ShardRange> ranges(stack_.sums().begin() + bottom, stack_.sums().end());
  const std::vector<ConstDeviceSpan> sums(buffers_.begin() + bottom, buffers_.begin() + bottom + count);
  backend_.ordered_sum(sums, subtree_program(ranges), buffer(static_cast<int>(bottom)));
}

}  // namespace ballast
