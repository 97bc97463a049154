#include "comm/split/change_exchange.h"

#include <algorithm>

#include "comm/split/device_bytes.h"

namespace ballast {
namespace {

constexpr int kChangeTag = 5;
constexpr std::int64_t kWordBytes = 4;
constexpr std::int64_t kAlign = 64;  ///< elements or words: 256 bytes

std::int64_t elements_of(const Slice& slice) { return slice.end - slice.begin; }
std::int64_t aligned(std::int64_t count) { return (count + kAlign - 1) / kAlign * kAlign; }

/// x = x - y.
void subtract(Backend& backend, ConstDeviceSpan y, DeviceSpan x) {
  backend.update({.kind = UpdateKind::kSgd, .lr = 1.0F}, {.value = x, .compute = {}, .gradient = y, .state = {}});
}

/// x = x + y.
void add(Backend& backend, ConstDeviceSpan y, DeviceSpan x) {
  const ConstDeviceSpan addends[] = {x, y};
  const int tree[] = {0, 1, -1};
  backend.ordered_sum(addends, tree, x);
}

}  // namespace

ChangeExchange::ChangeExchange(const SplitParts& parts, const std::vector<Block>& blocks,
                               const std::vector<Slice>& my_slices, const GradientCoding& coding)
    : parts_(parts), first_(parts, blocks), errors_(coding) {
  plan(blocks, my_slices, coding);
  errors_.allocate(parts_.backend);
  std::int64_t last = 0, most = 0;
  for (Mine& mine : mine_) {
    mine.last = last;
    last += aligned(elements_of(mine.slice));
    most = std::max(most, elements_of(mine.slice));
  }
  for (const Incoming& incoming : incoming_) most = std::max(most, elements_of(incoming.slice));
  if (last > 0) last_ = Buffer(parts_.backend, last, DType::kF32);
  if (most > 0) scratch_ = Buffer(parts_.backend, most, DType::kF32);
  memory_ = parts_.node.share(message_words_ * kWordBytes);
  arrived_ = std::vector<std::atomic<bool>>(incoming_.size());
}

void ChangeExchange::plan(const std::vector<Block>& blocks, const std::vector<Slice>& my_slices,
                          const GradientCoding& coding) {
  const Topology& topology = parts_.topology;
  for (const Slice& slice : my_slices) {
    Mine mine{.slice = slice, .code = slice_code(slice, blocks, coding), .to = {}, .error = errors_.reserve(slice, 0)};
    mine.message = reserve(mine.code);
    for (int i = 1; i < topology.nodes(); ++i) {  // owners start with different nodes
      mine.to.push_back(topology.contact((topology.my_node() + i) % topology.nodes(), slice.owner, slice.bucket));
    }
    mine_.push_back(std::move(mine));
  }
  for (const Slice& slice : parts_.partition.slices) {
    if (slice.block_count == 0 || topology.node_of(slice.owner) == topology.my_node()) continue;
    if (topology.contact(topology.my_node(), slice.owner, slice.bucket) != topology.rank()) continue;
    SliceCode code = slice_code(slice, blocks, coding);
    const std::int64_t message = reserve(code);
    incoming_.push_back({slice, std::move(code), message});
  }
}

std::int64_t ChangeExchange::reserve(const SliceCode& code) {
  const std::int64_t message = message_words_;
  message_words_ += aligned(code.words);
  return message;
}

DeviceSpan ChangeExchange::words_at(std::int64_t message, const SliceCode& code) const {
  return {memory_->of(parts_.node.rank()).data() + message * kWordBytes, code.words, DType::kI32};
}

DeviceSpan ChangeExchange::values_of(const Slice& slice) const {
  return parts_.memory.values().subspan(slice.begin, elements_of(slice));
}

DeviceSpan ChangeExchange::last_of(const Mine& mine) const {
  return last_.span().subspan(mine.last, elements_of(mine.slice));
}

DeviceSpan ChangeExchange::scratch(const Slice& slice) const { return scratch_.span().subspan(0, elements_of(slice)); }

void ChangeExchange::remember() {
  for (const Mine& mine : mine_) parts_.backend.convert(values_of(mine.slice), last_of(mine));
}

void ChangeExchange::code_change(const Mine& mine) {
  Backend& backend = parts_.backend;
  const DeviceSpan values = values_of(mine.slice), change = scratch(mine.slice),
                   words = words_at(mine.message, mine.code);
  backend.convert(values, change);
  subtract(backend, last_of(mine), change);
  backend.compress(mine.code.blocks, change, errors_.of(mine.error), words);
  apply(mine.slice, mine.code, words, last_of(mine));
  backend.convert(last_of(mine), values);
}

void ChangeExchange::apply(const Slice& slice, const SliceCode& code, DeviceSpan words, DeviceSpan to) {
  parts_.backend.decompress(code.blocks, words, scratch(slice));
  add(parts_.backend, scratch(slice), to);
}

void ChangeExchange::start() {
  if (has_first_) return start_changes();
  has_first_ = true;
  remember();
  first_.start();
}

void ChangeExchange::use(std::span<const ElementRange> /*now*/, std::span<const ElementRange> /*next*/) {
  const ElementRange all{0, parts_.memory.values().size};
  first_.use({&all, 1}, {});
  finish_changes();
}

void ChangeExchange::start_changes() {
  ++started_;
  for (std::size_t i = 0; i < incoming_.size(); ++i) {
    arrived_[i] = false;
    const Incoming& incoming = incoming_[i];
    parts_.transfers.receive(bytes_of(words_at(incoming.message, incoming.code)), incoming.slice.owner, kChangeTag,
                             [this, i] { arrived_[i] = true; });
  }
  for (const Mine& mine : mine_) code_change(mine);
  parts_.backend.synchronize();
  for (const Mine& mine : mine_) {
    const ConstDeviceSpan words = words_at(mine.message, mine.code);
    for (const int to : mine.to) parts_.transfers.send(bytes_of(words), to, kChangeTag);
  }
}

void ChangeExchange::finish_changes() {
  const auto applied = parts_.memory.applied_changes(parts_.node.rank());
  if (applied.load(std::memory_order_relaxed) == started_) return;
  for (std::size_t i = 0; i < incoming_.size(); ++i) {
    const Incoming& incoming = incoming_[i];
    parts_.transfers.wait_until([&] { return arrived_[i].load(); });
    apply(incoming.slice, incoming.code, words_at(incoming.message, incoming.code), values_of(incoming.slice));
  }
  parts_.backend.synchronize();
  applied.store(started_, std::memory_order_release);
  for (int neighbour = 0; neighbour < parts_.node.size(); ++neighbour) {
    const auto theirs = parts_.memory.applied_changes(neighbour);
    parts_.transfers.poll_until([&] { return theirs.load(std::memory_order_acquire) >= started_; });
  }
}

}  // namespace ballast
