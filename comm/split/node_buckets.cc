#include "comm/split/node_buckets.h"

#include <algorithm>
#include <thread>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::int64_t kClockWords = 8;  // a cache line of its own
constexpr int kStateShift = 32;          // above the number of users

using State = NodeBuckets::State;

std::int64_t word_of(State state, std::int64_t users) {
  return static_cast<std::int64_t>(state) << kStateShift | users;
}

State state_of(std::int64_t word) { return static_cast<State>(word >> kStateShift); }

}  // namespace

std::int64_t NodeBuckets::bytes(int buckets) {
  return (kClockWords + 2 * std::int64_t{buckets}) * static_cast<std::int64_t>(sizeof(std::int64_t));
}

NodeBuckets::NodeBuckets(std::byte* memory, int buckets)
    : words_(reinterpret_cast<std::int64_t*>(memory)), buckets_(buckets) {
  idle_.reserve(static_cast<std::size_t>(buckets));
}

std::atomic_ref<std::int64_t> NodeBuckets::word(int bucket) const {
  static_assert(std::atomic_ref<std::int64_t>::is_always_lock_free, "a lock would live in one process only");
  return std::atomic_ref(words_[kClockWords + 2 * std::int64_t{bucket}]);
}

std::atomic_ref<std::int64_t> NodeBuckets::released(int bucket) const {
  return std::atomic_ref(words_[kClockWords + 2 * std::int64_t{bucket} + 1]);
}

State NodeBuckets::use(int bucket) {
  const auto word = this->word(bucket);
  std::int64_t found = word.load(std::memory_order_acquire);
  while (true) {
    const State state = state_of(found);
    if (state == State::kGoing) {  // as long as pages take to be given back
      std::this_thread::yield();
      found = word.load(std::memory_order_acquire);
      continue;
    }
    const std::int64_t used = state == State::kAbsent ? word_of(State::kComing, 1) : found + 1;
    if (word.compare_exchange_weak(found, used, std::memory_order_acq_rel, std::memory_order_acquire)) return state;
  }
}

void NodeBuckets::arrived(int bucket) {
  static_assert(static_cast<int>(State::kHere) == static_cast<int>(State::kComing) + 1);
  word(bucket).fetch_add(std::int64_t{1} << kStateShift, std::memory_order_release);
}

bool NodeBuckets::here(int bucket) const {
  return state_of(word(bucket).load(std::memory_order_acquire)) == State::kHere;
}

void NodeBuckets::release(int bucket) {
  released(bucket).store(clock().fetch_add(1, std::memory_order_relaxed), std::memory_order_relaxed);
  word(bucket).fetch_sub(1, std::memory_order_acq_rel);
}

void NodeBuckets::drop_idle(std::size_t kept, const GiveBack& give_back) {
  idle_.clear();
  for (int bucket = 0; bucket < buckets_; ++bucket) {
    if (word(bucket).load(std::memory_order_relaxed) != word_of(State::kHere, 0)) continue;
    idle_.push_back({released(bucket).load(std::memory_order_relaxed), bucket});
  }
  if (idle_.size() <= kept) return;
  std::ranges::sort(idle_, {}, &Idle::released);
  for (std::size_t i = 0; i < idle_.size() - kept; ++i) let_go(idle_[i].bucket, give_back);
}

void NodeBuckets::drop(int bucket, const GiveBack& give_back) {
  const std::int64_t found = word(bucket).load(std::memory_order_relaxed);
  require(found == word_of(State::kHere, 0) || found == word_of(State::kAbsent, 0),
          "NodeBuckets: new values while somebody reads the old ones");
  let_go(bucket, give_back);
}

// Unless somebody has taken it up meanwhile.
void NodeBuckets::let_go(int bucket, const GiveBack& give_back) {
  std::int64_t idle = word_of(State::kHere, 0);
  if (!word(bucket).compare_exchange_strong(idle, word_of(State::kGoing, 0), std::memory_order_acq_rel,
                                            std::memory_order_relaxed)) {
    return;
  }
  give_back(bucket);
  word(bucket).store(word_of(State::kAbsent, 0), std::memory_order_release);
}

}  // namespace ballast
