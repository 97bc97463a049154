#include "comm/split/value_gathering.h"

#include <algorithm>
#include <functional>

#include "comm/split/device_bytes.h"
#include "compute/error.h"

namespace ballast {
namespace {

constexpr int kValueTag = 2;
constexpr int kNoteTag = 3;
constexpr int kHasReadTag = 4;
constexpr std::int32_t kEnd = -1;  ///< instead of a bucket: stop listening

void sort_unique(std::vector<int>& numbers) {
  std::ranges::sort(numbers);
  const auto rest = std::ranges::unique(numbers);
  numbers.erase(rest.begin(), rest.end());
}

std::unique_ptr<SharedSegments> share_words(Communicator& node, int buckets) {
  return node.share(node.rank() == 0 ? NodeBuckets::bytes(buckets) : 0);
}

}  // namespace

ValueGathering::ValueGathering(const SplitParts& parts, const std::vector<Block>& blocks)
    : parts_(parts),
      foreign_(static_cast<std::size_t>(parts.partition.buckets())),
      mine_(foreign_.size()),
      words_(share_words(parts.node, parts.partition.buckets())),
      buckets_(words_->of(0).data(), parts.partition.buckets()),
      missing_(foreign_.size(), 0),
      fetcher_(foreign_.size(), Fetcher::kNone),
      readers_(static_cast<std::size_t>(parts.topology.nodes())) {
  if (!parts_.node.concurrent()) {
    throw ConfigError(
        "comm.sharding = \"values\" needs an MPI library that several threads may call "
        "(MPI_THREAD_MULTIPLE), and this one does not allow it: set comm.sharding = \"gradients\"");
  }
  plan(blocks);
}

void ValueGathering::plan(const std::vector<Block>& blocks) {
  const Topology& topology = parts_.topology;
  for (const Slice& slice : parts_.partition.slices) {
    if (slice.block_count == 0) continue;
    const auto bucket = static_cast<std::size_t>(slice.bucket);
    if (slice.owner == topology.rank()) {
      mine_[bucket] = published_runs(slice, blocks);
      owns_ = true;
    } else if (topology.node_of(slice.owner) != topology.my_node()) {
      foreign_[bucket].push_back({.owner = slice.owner,
                                  .runs = published_runs(slice, blocks),
                                  .note = {.bucket = slice.bucket, .from = topology.rank()}});
      owners_.push_back(slice.owner);
    }
  }
  sort_unique(owners_);
}

DeviceSpan ValueGathering::span_of(const PublishedRun& run) const {
  const DeviceSpan all = run.dtype == DType::kBF16 ? parts_.memory.compute_values() : parts_.memory.values();
  return all.subspan(run.begin, run.end - run.begin);
}

void ValueGathering::expect() {
  require(held_.empty(), "SplitAllReduce: reduce() while values are in use");
  const Topology& topology = parts_.topology;
  readers_left_ = owns_ ? topology.nodes() - 1 : 0;
  for (int node = 0; node < topology.nodes() && owns_; ++node) {
    if (node == topology.my_node()) continue;
    parts_.transfers.receive(std::span(readers_).subspan(static_cast<std::size_t>(node), 1),
                             topology.contact(node, topology.rank(), 0), kHasReadTag, [this] { --readers_left_; });
  }
  for (const int owner : owners_) {
    if (topology.contact(topology.my_node(), owner, 0) != topology.rank()) continue;
    parts_.transfers.send(std::span(&has_read_, 1), owner, kHasReadTag);
  }
}

void ValueGathering::wait_for_readers() {
  parts_.transfers.wait_until([this] { return readers_left_ == 0; });
}

void ValueGathering::start() {
  for (int bucket = parts_.node.rank(); bucket < parts_.partition.buckets(); bucket += parts_.node.size()) {
    buckets_.drop(bucket, [this](int stale) { give_back(stale); });
  }
  ++started_;
  if (owns_ && !listening_) {
    listening_ = true;
    parts_.transfers.listen(std::as_writable_bytes(std::span(&heard_, 1)), kNoteTag, [this] { return heard(); });
  }
  const std::lock_guard lock(mutex_);
  published_ = started_;
  for (const Note& note : early_) answer(note);
  early_.clear();
}

bool ValueGathering::heard() {
  if (heard_.bucket == kEnd) {
    ended_ = true;
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (heard_.start > published_) {
    early_.push_back(heard_);
  } else {
    answer(heard_);
  }
  return true;
}

void ValueGathering::answer(const Note& note) {
  for (const PublishedRun& run : mine_[static_cast<std::size_t>(note.bucket)]) {
    parts_.transfers.send_urgent(bytes_of(ConstDeviceSpan(span_of(run))), note.from, kValueTag);
  }
}

void ValueGathering::use(std::span<const ElementRange> now, std::span<const ElementRange> next) {
  needed_.clear();
  add_buckets(now, needed_);
  order_ = needed_;
  add_buckets(next, order_);
  wanted_ = order_;
  sort_unique(wanted_);
  if (!std::ranges::includes(wanted_, held_)) parts_.backend.synchronize();  // it may still read what goes
  for (const int bucket : held_) {
    if (std::ranges::binary_search(wanted_, bucket)) continue;
    wait_for(bucket);
    buckets_.release(bucket);
    fetcher_[static_cast<std::size_t>(bucket)] = Fetcher::kNone;
  }
  for (const int bucket : order_) take(bucket);
  held_.swap(wanted_);
  buckets_.drop_idle(kIdleBuckets, [this](int bucket) { give_back(bucket); });
  for (const int bucket : needed_) wait_for(bucket);
}

/// The buckets that elements of other nodes in `ranges` lie in, in the order of `ranges`.
void ValueGathering::add_buckets(std::span<const ElementRange> ranges, std::vector<int>& buckets) const {
  const std::vector<std::int64_t>& begins = parts_.partition.begins;
  for (const ElementRange& range : ranges) {
    auto bucket = std::lower_bound(begins.begin(), begins.end(), range.end - 1, std::greater<>()) - begins.begin();
    for (; bucket < std::ssize(begins); ++bucket) {
      const auto at = static_cast<std::size_t>(bucket);
      if (!foreign_[at].empty()) buckets.push_back(static_cast<int>(bucket));
      if (begins[at] <= range.begin) break;
    }
  }
}

/// I use it from now on.
void ValueGathering::take(int bucket) {
  Fetcher& fetcher = fetcher_[static_cast<std::size_t>(bucket)];
  if (fetcher != Fetcher::kNone) return;
  fetcher = Fetcher::kNeighbour;
  if (buckets_.use(bucket) != NodeBuckets::State::kAbsent) return;
  fetcher = Fetcher::kMe;
  fetch(bucket);
}

void ValueGathering::fetch(int bucket) {
  const auto at = static_cast<std::size_t>(bucket);
  for (const ForeignSlice& slice : foreign_[at]) missing_[at] += static_cast<int>(slice.runs.size());
  for (ForeignSlice& slice : foreign_[at]) {
    for (const PublishedRun& run : slice.runs) {
      parts_.transfers.receive(bytes_of(span_of(run)), slice.owner, kValueTag, [this, bucket] {
        if (--missing_[static_cast<std::size_t>(bucket)] == 0) buckets_.arrived(bucket);
      });
    }
    // An earlier one has left before the latest start().
    if (slice.note.start != started_) slice.note.start = started_;
    parts_.transfers.send_urgent(std::as_bytes(std::span(&slice.note, 1)), slice.owner, kNoteTag);
  }
}

void ValueGathering::wait_for(int bucket) {
  const auto here = [this, bucket] { return buckets_.here(bucket); };
  if (fetcher_[static_cast<std::size_t>(bucket)] == Fetcher::kMe) {
    parts_.transfers.wait_until(here);
  } else {
    parts_.transfers.poll_until(here);
  }
}

void ValueGathering::give_back(int bucket) {
  for (const ForeignSlice& slice : foreign_[static_cast<std::size_t>(bucket)]) {
    for (const PublishedRun& run : slice.runs) parts_.memory.discard_values(span_of(run));
  }
}

void ValueGathering::end() {
  use({}, {});
  parts_.node.barrier();
  expect();
  wait_for_readers();
  if (listening_) {
    end_ = {.bucket = kEnd, .from = parts_.topology.rank()};
    parts_.transfers.send_urgent(std::as_bytes(std::span(&end_, 1)), end_.from, kNoteTag);
    parts_.transfers.wait_until([this] { return ended_.load(); });
  }
  parts_.transfers.wait_for_sends();
}

}  // namespace ballast
