#include "comm/split/node_allreduce.h"

#include <utility>

namespace ballast {

NodeAllReduce::Shared::Shared(Communicator& world, Backend& backend, std::int64_t flat_size,
                              std::vector<Block> blocks_given, bool bf16, const SplitAllReduceOptions& options)
    : blocks(std::move(blocks_given)),
      group(world.split(0)),
      node(options.share_memory ? group->split_by_node() : group->split(group->rank())),
      topology(*group, *node),
      partition(cut_buckets(blocks, options.bucket_bytes, coordinator_ranks(options.coordinators, world.size()))),
      fragments(all_fragments(world.size(), options.shards)),
      memory(*node, flat_size, bf16, fragments[static_cast<std::size_t>(world.rank())].buffers),
      transfers(*group),
      sums(parts(backend), plan_sums(topology, partition, fragments, options.shards)),
      values(parts(backend), blocks) {}

NodeAllReduce::NodeAllReduce(Communicator& world, Backend& backend, std::int64_t flat_size, std::vector<Block> blocks,
                             bool bf16, const SplitAllReduceOptions& options)
    : backend_(backend),
      shared_(new Shared(world, backend, flat_size, std::move(blocks), bf16, options)),
      gradients_(backend, shards_of(world.rank(), world.size(), options.shards), options.shards, my_buffers(),
                 shared_->partition),
      slice_parts_(blocks_in(my_slices(), shared_->blocks)),
      squares_(shared_->blocks.size(), 0.0) {}

std::vector<DeviceSpan> NodeAllReduce::my_buffers() const {
  const int count = shared_->fragments[static_cast<std::size_t>(shared_->group->rank())].buffers;
  std::vector<DeviceSpan> buffers;
  buffers.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) buffers.push_back(shared_->memory.gradients(shared_->node->rank(), i));
  return buffers;
}

void NodeAllReduce::begin_step() {
  gradients_.begin_step();
  shared_->sums.begin_step();
}

void NodeAllReduce::gradients_ready(std::int64_t offset) { shared_->sums.finished(gradients_.ready_buckets(offset)); }

void NodeAllReduce::reduce() {
  gradients_.begin_reduce();
  shared_->sums.finished(shared_->partition.buckets());
  backend_.synchronize();
  shared_->node->barrier();
  shared_->values.expect();
  shared_->sums.finished_by_all();
  for (std::size_t i = 0; i < my_slices().size(); ++i) {
    const Slice& slice = my_slices()[i];
    shared_->sums.sum_slice(static_cast<int>(i), sum().subspan(slice.begin, slice.end - slice.begin), slice_parts_[i],
                            std::span(squares_).subspan(static_cast<std::size_t>(slice.first_block),
                                                        static_cast<std::size_t>(slice.block_count)));
  }
  backend_.synchronize();
  shared_->transfers.wait_for_sends();
}

void NodeAllReduce::publish() {
  gradients_.begin_publish();
  backend_.synchronize();
  shared_->transfers.wait_for_sends();  // of values, where this is not the first publish() since reduce()
  shared_->values.start();
  shared_->node->barrier();
}

}  // namespace ballast
