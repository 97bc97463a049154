#include "comm/split/node_allreduce.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "comm/split/change_exchange.h"
#include "comm/split/value_gathering.h"

namespace ballast {
namespace {

constexpr int kBucketsAhead = 6;  ///< how many finished buckets a worker keeps before it waits for its neighbours
constexpr auto kNap = std::chrono::microseconds(50);

bool gathers_values(const SplitAllReduceOptions& options, const Topology& topology) {
  return options.sharding == Sharding::kValues && topology.nodes() > 1;
}

std::unique_ptr<ForeignValues> foreign_values(const SplitParts& parts, const std::vector<Block>& blocks,
                                              const std::vector<Slice>& my_slices,
                                              const SplitAllReduceOptions& options) {
  if (options.publish_coding.active()) {
    return std::make_unique<ChangeExchange>(parts, blocks, my_slices, options.publish_coding);
  }
  if (gathers_values(options, parts.topology)) return std::make_unique<ValueGathering>(parts, blocks);
  return std::make_unique<ValueExchange>(parts, blocks);
}

constexpr ValueExchange::Channel kMasters = {6, &NodeMemory::arrived_masters};

std::vector<Block> as_f32(std::vector<Block> blocks) {
  for (Block& block : blocks) block.publish = DType::kF32;
  return blocks;
}

}  // namespace

NodeAllReduce::Shared::Shared(Communicator& world, Backend& backend, std::int64_t flat_size,
                              std::vector<Block> blocks_given, bool bf16, const SplitAllReduceOptions& options)
    : blocks(std::move(blocks_given)),
      group(world.split(0)),
      node(options.share_memory ? group->split_by_node() : group->split(group->rank())),
      topology(*group, *node),
      layout(layout_of(world.size(), options)),
      partition(cut_buckets(blocks, options.bucket_bytes, coordinator_ranks(options.coordinators, world.size()))),
      buffers(std::max(1, fragments_of(layout.of(world.rank()), layout).buffers)),
      memory(*node, flat_size, bf16, buffers, gathers_values(options, topology) ? Filling::kSparse : Filling::kWhole),
      sums(parts(backend), plan_sums(topology, partition, layout, options.coding.active()), blocks, options.coding),
      values(foreign_values(parts(backend), blocks, sums.my_slices(), options)),
      transfers(*group) {
  if (!options.gathers || topology.nodes() == 1) return;
  if (options.sharding == Sharding::kValues) {
    throw ConfigError(
        "comm.sharding = \"values\": with [outer] a group that lies on several nodes needs all of its "
        "weights at times: set comm.sharding = \"gradients\"");
  }
  masters.emplace(parts(backend), as_f32(blocks), kMasters);
}

NodeAllReduce::Shared::~Shared() {
  try {
    values->end();
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the job ends, with the error that is under way
  }
}

NodeAllReduce::NodeAllReduce(Communicator& world, Backend& backend, std::int64_t flat_size, std::vector<Block> blocks,
                             bool bf16, const SplitAllReduceOptions& options)
    : backend_(backend),
      shared_(new Shared(world, backend, flat_size, std::move(blocks), bf16, options)),
      gradients_(backend, shared_->layout, world.rank(), my_buffers(), shared_->partition,
                 options.sharding == Sharding::kOptimizer ? nullptr : freed_when_added()),
      slice_parts_(blocks_in(my_slices(), shared_->blocks)),
      squares_(shared_->blocks.size(), 0.0),
      free_gradients_(options.sharding != Sharding::kOptimizer) {}

ShardGradients::Added NodeAllReduce::freed_when_added() const {
  return [this](int buffer, ElementRange elements) {
    backend_.synchronize();
    shared_->memory.discard_gradients(buffer, elements.begin, elements.end);
  };
}

std::vector<DeviceSpan> NodeAllReduce::my_buffers() const {
  std::vector<DeviceSpan> spans;
  spans.reserve(static_cast<std::size_t>(buffers()));
  for (int i = 0; i < buffers(); ++i) spans.push_back(shared_->memory.gradients(shared_->node->rank(), i));
  return spans;
}

void NodeAllReduce::begin_step() {
  gradients_.begin_step();
  shared_->sums.begin_step();
  next_slice_ = 0;
  freed_ = 0;
}

void NodeAllReduce::gradients_ready(std::int64_t offset) {
  const int ready = gradients_.ready_buckets(offset);
  shared_->sums.finished(ready);
  if (!free_gradients_) return;
  sum_and_free(ready);
  if (ready <= freed_ + kBucketsAhead) return;
  const MessageWait wait(*shared_->group);
  while (ready > freed_ + kBucketsAhead) {
    std::this_thread::sleep_for(kNap);
    shared_->sums.finished(ready);
    sum_and_free(ready);
  }
}

void NodeAllReduce::sum_next_slice() {
  const auto at = static_cast<std::size_t>(next_slice_);
  const Slice& slice = my_slices()[at];
  shared_->sums.sum_slice(next_slice_++, sum().subspan(slice.begin, slice.end - slice.begin), slice_parts_[at],
                          std::span(squares_).subspan(static_cast<std::size_t>(slice.first_block),
                                                      static_cast<std::size_t>(slice.block_count)));
}

void NodeAllReduce::sum_and_free(int ready) {
  const auto my_next_bucket = [&] {
    const auto at = static_cast<std::size_t>(next_slice_);
    return at < my_slices().size() ? my_slices()[at].bucket : shared_->partition.buckets();
  };
  const int finished = std::min(ready, shared_->sums.finished_on_node());
  while (my_next_bucket() < finished && shared_->sums.arrived(next_slice_)) sum_next_slice();
  backend_.synchronize();
  shared_->sums.summed(my_next_bucket());
  for (const int end = shared_->sums.summed_on_node(); freed_ < end; ++freed_) free_bucket(freed_);
}

void NodeAllReduce::free_bucket(int bucket) {
  const ElementRange all = shared_->partition.range_of(bucket, sum().size);
  std::int64_t begin = all.begin;
  for (const Slice& slice : my_slices()) {
    if (slice.bucket != bucket) continue;
    shared_->memory.discard_gradients(0, begin, slice.begin);
    begin = slice.end;
  }
  shared_->memory.discard_gradients(0, begin, all.end);
  for (int buffer = 1; buffer < buffers(); ++buffer) {
    shared_->memory.discard_gradients(buffer, all.begin, all.end);
  }
}

void NodeAllReduce::reduce() {
  gradients_.begin_reduce();
  shared_->sums.finished(shared_->partition.buckets());
  backend_.synchronize();
  shared_->node->barrier();
  shared_->values->expect();
  shared_->sums.finished_by_all();
  while (next_slice_ < static_cast<int>(my_slices().size())) sum_next_slice();
  backend_.synchronize();
  shared_->values->wait_for_readers();
  shared_->transfers.wait_for_sends();
}

void NodeAllReduce::publish() {
  gradients_.begin_publish();
  backend_.synchronize();
  shared_->transfers.wait_for_sends();  // of values, where this is not the first publish() since reduce()
  shared_->values->start();
  shared_->node->barrier();
  if (!free_gradients_) return;
  for (int buffer = 0; buffer < buffers(); ++buffer) shared_->memory.discard_gradients(buffer, 0, sum().size);
}

// Messages of values that are f32 anyway carry what is there already: simple, and rare.
void NodeAllReduce::gather_values() {
  const ElementRange all{0, values().size};
  use_values({&all, 1}, {});
  use_values({}, {});
  if (!shared_->masters) return;
  shared_->node->barrier();  // neighbours no longer read what messages will write
  shared_->masters->start();
  shared_->masters->use({&all, 1}, {});
  shared_->transfers.wait_for_sends();
}

}  // namespace ballast
