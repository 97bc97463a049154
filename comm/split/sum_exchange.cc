#include "comm/split/sum_exchange.h"

#include <algorithm>

#include "comm/split/device_bytes.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr int kSumTag = 1;
constexpr std::int64_t kAlign = 16;  ///< elements: 64 bytes

std::int64_t aligned(std::int64_t elements) { return (elements + kAlign - 1) / kAlign * kAlign; }

/// The one test gives every transfer a turn. Finished requests at the front are skipped.
void give_a_turn(const std::vector<std::unique_ptr<Request>>& requests) {
  for (const auto& request : requests) {
    if (!request->test()) return;
  }
}

}  // namespace

SumExchange::SumExchange(const SplitParts& parts) : parts_(parts) {
  for (const Slice& slice : parts_.partition.slices) {
    if (slice.owner == parts_.topology.rank() && slice.block_count > 0) my_slices_.push_back(slice);
  }
  plan_sends();
  plan_sums();
}

/// The largest whole subtrees that the workers of `node` hold together.
std::vector<ShardRange> SumExchange::cover_of(int node) const {
  std::vector<ShardRange> runs;
  for (const int rank : parts_.topology.members(node)) {
    const ShardRange range = shards_of(rank, parts_.topology.workers(), parts_.shards);
    if (!runs.empty() && runs.back().end == range.begin) {
      runs.back().end = range.end;
    } else {
      runs.push_back(range);
    }
  }
  std::vector<ShardRange> cover;
  for (const ShardRange& run : runs) {
    const std::vector<ShardRange> held = held_subtrees(run, parts_.shards);
    cover.insert(cover.end(), held.begin(), held.end());
  }
  return cover;
}

std::vector<SumExchange::Local> SumExchange::locals_of(int node) const {
  std::vector<Local> locals;
  const std::vector<int>& members = parts_.topology.members(node);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::vector<ShardRange>& sums = parts_.fragments[static_cast<std::size_t>(members[i])].sums;
    for (std::size_t buffer = 0; buffer < sums.size(); ++buffer) {
      locals.push_back({sums[buffer], static_cast<int>(i), static_cast<int>(buffer)});
    }
  }
  return locals;
}

void SumExchange::plan_slice(const Slice& slice, std::int64_t& staging) {
  const int my_node = parts_.topology.my_node();
  const std::vector<Local> all = locals_of(my_node);
  for (const ShardRange& subtree : cover_of(my_node)) {
    Outgoing outgoing{.slice = &slice, .locals = {}, .program = {}, .staging = staging};
    std::vector<ShardRange> ranges;
    for (const Local& local : all) {
      if (local.shards.begin < subtree.begin || subtree.end < local.shards.end) continue;
      outgoing.locals.push_back(local);
      ranges.push_back(local.shards);
    }
    outgoing.program = subtree_program(ranges);
    if (ranges.size() > 1) staging += aligned(slice.end - slice.begin);
    outgoing_[static_cast<std::size_t>(slice.bucket)].push_back(std::move(outgoing));
  }
}

void SumExchange::plan_sends() {
  const Topology& topology = parts_.topology;
  outgoing_.resize(static_cast<std::size_t>(parts_.partition.buckets()));
  std::int64_t staging = 0;
  for (const Slice& slice : parts_.partition.slices) {
    if (slice.block_count == 0 || topology.node_of(slice.owner) == topology.my_node()) continue;
    if (topology.contact(topology.my_node(), slice.owner, slice.bucket) == topology.rank()) plan_slice(slice, staging);
  }
  if (staging > 0) staging_ = Buffer(parts_.backend, staging, DType::kF32);
}

void SumExchange::plan_sums() {
  for (const Local& local : locals_of(parts_.topology.my_node())) addends_.push_back({local.shards, local});
  for (int node = 0; node < parts_.topology.nodes(); ++node) {
    if (node == parts_.topology.my_node()) continue;
    for (const ShardRange& subtree : cover_of(node)) addends_.push_back({subtree, {}, node, incoming_per_slice_++});
  }
  std::sort(addends_.begin(), addends_.end(), [](const Addend& a, const Addend& b) { return a.shards.begin < b.shards.begin; });
  std::vector<ShardRange> cover;
  for (const Addend& addend : addends_) cover.push_back(addend.shards);
  program_ = sum_program(cover, parts_.shards);

  std::int64_t elements = 0;
  for (const Slice& slice : my_slices_) {
    incoming_offsets_.push_back(elements);
    elements += incoming_per_slice_ * aligned(slice.end - slice.begin);
  }
  if (elements > 0) incoming_ = Buffer(parts_.backend, elements, DType::kF32);
}

DeviceSpan SumExchange::incoming_span(int slice, int incoming) const {
  const Slice& mine = my_slices_[static_cast<std::size_t>(slice)];
  const std::int64_t size = mine.end - mine.begin;
  return incoming_.span().subspan(incoming_offsets_[static_cast<std::size_t>(slice)] + incoming * aligned(size), size);
}

void SumExchange::begin_step() {
  receives_.clear();
  next_bucket_ = 0;
  finished_before_ = parts_.memory.finished_buckets(parts_.node.rank()).load(std::memory_order_relaxed);
  if (incoming_per_slice_ == 0) return;
  for (int i = 0; i < static_cast<int>(my_slices_.size()); ++i) {
    const int bucket = my_slices_[static_cast<std::size_t>(i)].bucket;
    receives_.resize(receives_.size() + static_cast<std::size_t>(incoming_per_slice_));
    for (const Addend& addend : addends_) {
      if (addend.node < 0) continue;
      const int from = parts_.topology.contact(addend.node, parts_.topology.rank(), bucket);
      receives_[static_cast<std::size_t>(i * incoming_per_slice_ + addend.incoming)] =
          parts_.world.receive(bytes_of(incoming_span(i, addend.incoming)), from, kSumTag);
    }
  }
}

void SumExchange::finished(int count) {
  if (parts_.topology.nodes() == 1) return;
  const auto mine = parts_.memory.finished_buckets(parts_.node.rank());
  if (mine.load(std::memory_order_relaxed) < finished_before_ + count) {
    parts_.backend.synchronize();
    mine.store(finished_before_ + count, std::memory_order_release);
  }
  send_finished_buckets();
  give_a_turn(sends_);
  give_a_turn(receives_);
}

void SumExchange::send_finished_buckets() {
  std::int64_t finished = parts_.partition.buckets();
  for (int neighbour = 0; neighbour < parts_.node.size(); ++neighbour) {
    finished = std::min(finished, parts_.memory.finished_buckets(neighbour).load(std::memory_order_acquire) - finished_before_);
  }
  while (next_bucket_ < finished) send_bucket(next_bucket_++);
}

void SumExchange::finished_by_all() {
  if (parts_.topology.nodes() == 1) return;
  while (next_bucket_ < parts_.partition.buckets()) send_bucket(next_bucket_++);
}

void SumExchange::send_bucket(int bucket) {
  std::vector<ConstDeviceSpan> ready;
  const std::vector<Outgoing>& messages = outgoing_[static_cast<std::size_t>(bucket)];
  for (const Outgoing& message : messages) {
    const std::int64_t size = message.slice->end - message.slice->begin;
    std::vector<ConstDeviceSpan> sums;
    for (const Local& local : message.locals) {
      sums.push_back(parts_.memory.gradients(local.neighbour, local.buffer).subspan(message.slice->begin, size));
    }
    if (sums.size() == 1) {
      ready.push_back(sums.front());
      continue;
    }
    const DeviceSpan staged = staging_.span().subspan(message.staging, size);
    parts_.backend.ordered_sum(sums, message.program, staged);
    ready.push_back(staged);
  }
  parts_.backend.synchronize();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    sends_.push_back(parts_.world.send(bytes_of(ready[i]), messages[i].slice->owner, kSumTag));
  }
}

void SumExchange::sum_slice(int index, DeviceSpan sum) {
  const Slice& slice = my_slices_[static_cast<std::size_t>(index)];
  std::vector<ConstDeviceSpan> sums;
  for (const Addend& addend : addends_) {
    if (addend.node >= 0) {
      receives_[static_cast<std::size_t>(index * incoming_per_slice_ + addend.incoming)]->wait();
      sums.push_back(incoming_span(index, addend.incoming));
    } else {
      sums.push_back(parts_.memory.gradients(addend.local.neighbour, addend.local.buffer).subspan(slice.begin, sum.size));
    }
  }
  parts_.backend.ordered_sum(sums, program_, sum);
}

void SumExchange::wait_for_sends() {
  for (const auto& send : sends_) send->wait();
  sends_.clear();
}

}  // namespace ballast
