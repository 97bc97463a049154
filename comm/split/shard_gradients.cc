#include "comm/split/shard_gradients.h"

#include <utility>

#include "compute/error.h"

namespace ballast {

ShardGradients::ShardGradients(Backend& backend, const ShardLayout& layout, int rank, std::vector<DeviceSpan> buffers,
                               const Partition& partition, Added added)
    : backend_(backend),
      mine_(layout.of(rank)),
      buffers_(std::move(buffers)),
      partition_(partition),
      added_(std::move(added)),
      stack_(layout) {}

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
  if (!last_shard()) {  // the last one's additions are part of the final sum
    ready_buckets(0);
    stack_.merge(stack_.mergeable());
    ready_ = 0;
  }
  open_shard_ = -1;
  ++next_shard_;
}

int ShardGradients::ready_buckets(std::int64_t offset) {
  const int before = ready_;
  while (ready_ < partition_.buckets() && offset <= partition_.begins[static_cast<std::size_t>(ready_)]) ++ready_;
  if (last_shard()) return ready_;
  add_ready(before);
  return 0;
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

void ShardGradients::add_ready(int before) {
  const int count = stack_.mergeable();
  if (count < 2) return;
  const int depth = static_cast<int>(stack_.sums().size());
  const int bottom = depth - count;
  const std::vector<ShardRange> ranges(stack_.sums().begin() + bottom, stack_.sums().end());
  const std::vector<int> program = subtree_program(ranges);
  for (int bucket = before; bucket < ready_; ++bucket) {
    const ElementRange elements = partition_.range_of(bucket, buffer(0).size);
    std::vector<ConstDeviceSpan> sums;
    for (int i = bottom; i < depth; ++i) {
      sums.push_back(buffer(i).subspan(elements.begin, elements.end - elements.begin));
    }
    backend_.ordered_sum(sums, program, buffer(bottom).subspan(elements.begin, elements.end - elements.begin));
    for (int i = bottom + 1; i < depth && added_; ++i) added_(i, elements);
  }
}

}  // namespace ballast
