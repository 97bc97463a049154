// Defines: NodeBuckets: which buckets of other nodes' values are on this node, and how many of its workers use them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace ballast {

/// A view, one in every worker, of words in memory that the node shares. A bucket goes from absent to coming, to here,
/// to going, and so on. Nobody takes a lock: a word holds the state and the number of users, and whoever changes it
/// from absent to coming, or from here without users to going, does the work. What happened before a worker's release()
/// of a bucket has happened before the bucket goes, and what the fetcher did before arrived(), before others see it
/// here.
class NodeBuckets {
 public:
  using GiveBack = std::function<void(int bucket)>;
  enum class State : std::uint8_t { kAbsent, kComing, kHere, kGoing };

  [[nodiscard]] static std::int64_t bytes(int buckets);
  /// `memory`: that many bytes; zero at first, which is: all absent.
  NodeBuckets(std::byte* memory, int buckets);

  /// I use it from now on. Returns how I found it: kAbsent, and then I have to fetch it and to call arrived(); kComing
  /// or kHere.
  [[nodiscard]] State use(int bucket);
  /// From any thread.
  void arrived(int bucket);
  [[nodiscard]] bool here(int bucket) const;
  void release(int bucket);
  /// Of the buckets that are here and that nobody uses, `kept` may stay: the others, those first that were released
  /// first, go. Calls give_back(bucket) for each.
  void drop_idle(std::size_t kept, const GiveBack& give_back);
  /// Lets the bucket go, if it is here. Nobody uses it.
  void drop(int bucket, const GiveBack& give_back);

 private:
  struct Idle {
    std::int64_t released = 0;
    int bucket = 0;
  };
  void let_go(int bucket, const GiveBack& give_back);
  [[nodiscard]] std::atomic_ref<std::int64_t> word(int bucket) const;
  [[nodiscard]] std::atomic_ref<std::int64_t> released(int bucket) const;  ///< when, on the node's own clock
  [[nodiscard]] std::atomic_ref<std::int64_t> clock() const { return std::atomic_ref(*words_); }

  std::int64_t* words_;
  int buckets_;
  std::vector<Idle> idle_;  ///< of the call under way
};

}  // namespace ballast
