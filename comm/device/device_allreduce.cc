#include "comm/device/device_allreduce.h"

#include <algorithm>
#include <utility>

#include "comm/device/native_exchange.h"
#include "comm/device/ordered_exchange.h"
#include "comm/split/topology.h"
#include "compute/error.h"

namespace ballast {
namespace {

/// Collective. Every worker is a node of its own.
SumPlan plan_of(Communicator& world, const Partition& partition, const ShardLayout& layout, bool coded) {
  const auto alone = world.split(world.rank());
  return plan_sums(Topology(world, *alone), partition, layout, coded);
}

std::vector<Buffer> gradient_buffers(Backend& backend, std::int64_t flat_size, const Fragments& fragments) {
  const int count = std::max(1, fragments.buffers);
  std::vector<Buffer> buffers;
  buffers.reserve(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    buffers.emplace_back(backend, flat_size, DType::kF32);
    backend.zero(buffers.back().span());
  }
  return buffers;
}

}  // namespace

DeviceAllReduce::DeviceAllReduce(Communicator& world, Backend& backend, std::int64_t flat_size,
                                 std::vector<Block> blocks, bool bf16, const SplitAllReduceOptions& options,
                                 std::unique_ptr<DeviceExchange> exchange)
    : backend_(backend),
      blocks_(std::move(blocks)),
      rank_(world.rank()),
      workers_(world.size()),
      layout_(layout_of(workers_, options)),
      partition_(cut_buckets(blocks_, options.bucket_bytes, coordinator_ranks(options.coordinators, workers_))),
      plan_(plan_of(world, partition_, layout_, options.coding.active())),
      values_(backend, flat_size, DType::kF32),
      compute_values_(bf16 ? Buffer(backend, flat_size, DType::kBF16) : Buffer()),
      buffers_(gradient_buffers(backend, flat_size, fragments_of(layout_.of(rank_), layout_))),
      gradients_(backend, layout_, rank_, buffer_spans(), partition_),
      slice_parts_(blocks_in(plan_.my_slices, blocks_)),
      squares_(blocks_.size(), 0.0),
      native_(options.native && workers_ > 1),
      exchange_(std::move(exchange)) {
  backend_.zero(values());
  if (bf16) backend_.zero(compute_values());
  if (native_) {
    slices_ = std::make_unique<NativeExchange>(parts());
  } else {
    slices_ = std::make_unique<OrderedExchange>(parts(), options.coding);
  }
}

std::vector<DeviceSpan> DeviceAllReduce::buffer_spans() const {
  std::vector<DeviceSpan> spans;
  spans.reserve(buffers_.size());
  for (const Buffer& buffer : buffers_) spans.push_back(buffer.span());
  return spans;
}

DeviceParts DeviceAllReduce::parts() const {
  return {.backend = backend_,
          .exchange = *exchange_,
          .rank = rank_,
          .workers = workers_,
          .blocks = blocks_,
          .partition = partition_,
          .plan = plan_,
          .gradients = buffer_spans(),
          .values = values(),
          .compute_values = compute_values()};
}

std::string DeviceAllReduce::note() const {
  if (!native_) return {};
  return "comm.reduction = \"native\": gradients are added in the transport's own order; the weights' bits depend on "
         "the number of workers";
}

void DeviceAllReduce::begin_step() {
  gradients_.begin_step();
  marks_.clear();
}

void DeviceAllReduce::gradients_ready(std::int64_t offset) { send_buckets(gradients_.ready_buckets(offset)); }

void DeviceAllReduce::send_buckets(int end) {
  exchange_->check();
  while (static_cast<int>(marks_.size()) < end) {
    slices_->send_bucket(static_cast<int>(marks_.size()));
    marks_.push_back(exchange_->mark());
  }
}

void DeviceAllReduce::reduce() {
  gradients_.begin_reduce();
  send_buckets(partition_.buckets());
  for (std::size_t i = 0; i < my_slices().size(); ++i) sum_slice(static_cast<int>(i));
  exchange_->wait();  // before the backend's queue, which waits for it and cannot fail
  backend_.synchronize();
}

void DeviceAllReduce::sum_slice(int index) {
  const auto at = static_cast<std::size_t>(index);
  const Slice& slice = my_slices()[at];
  const DeviceSpan total = sum().subspan(slice.begin, slice.end - slice.begin);
  const std::span<double> squares = std::span(squares_).subspan(static_cast<std::size_t>(slice.first_block),
                                                                static_cast<std::size_t>(slice.block_count));
  exchange_->before_compute(marks_[static_cast<std::size_t>(slice.bucket)]);
  const Addends addends = slices_->addends(index);
  backend_.ordered_sum_and_squares(addends.spans, addends.program, total, slice_parts_[at], squares);
}

void DeviceAllReduce::publish() {
  // A transfer does not wait for downloads of what it overwrites, as operations do. Behind reduce() there are none.
  if (!gradients_.reduced()) backend_.synchronize();
  gradients_.begin_publish();
  slices_->exchange_values();
  exchange_->wait();
  backend_.synchronize();
}

}  // namespace ballast
