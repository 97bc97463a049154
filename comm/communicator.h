// Defines: Communicator (a group of workers and the collectives on it), SharedSegments, Filling, Request.
//
// Collective calls must be made by all workers of the group in the same order. Everything here is for control data and
// for exchanging byte ranges; gradients are summed by split_allreduce.h only, whose order of addition is fixed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ballast {

enum class Reduction : std::uint8_t { kSum, kMin, kMax };

/// A transfer under way. wait() or test() until done before the memory is touched. Destroying an unfinished one waits.
class Request {
 public:
  virtual ~Request() = default;
  virtual void wait() = 0;
  [[nodiscard]] virtual bool test() = 0;  ///< true once done; also gives MPI a chance to progress
};

/// Memory that every worker of the (one-node) group sees: one page-aligned zeroed segment per rank. Freed together with
/// it; leaves nothing behind when a process is killed.
class SharedSegments {
 public:
  virtual ~SharedSegments() = default;
  [[nodiscard]] virtual std::span<std::byte> of(int rank) const = 0;
  /// Gives the whole pages of `part`, which lies in anybody's segment, back to the system where it can take them. They
  /// hold zeros or what they held. Nobody uses them meanwhile.
  virtual void discard(std::span<std::byte> part) = 0;
};

/// How a segment will be used.
enum class Filling : std::uint8_t {
  kWhole,   ///< all of it: in large pages where the system has them
  kSparse,  ///< parts of it come and go: in small pages, and the whole may be more than the machine has
};

class Communicator {
 public:
  static constexpr int kAnyone = -1;

  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  /// Whether calls on different groups may overlap in time, from several threads.
  [[nodiscard]] virtual bool concurrent() const = 0;

  virtual void barrier() = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  /// Integers: exact for every reduction and order.
  virtual void all_reduce(std::span<std::int64_t> values, Reduction reduction) = 0;
  /// Doubles of which at most one worker's is not zero, per element: the sum is exact and does not depend on the order.
  virtual void all_reduce_disjoint(std::span<double> values) = 0;
  /// Everyone's bytes, by rank. Lengths may differ.
  [[nodiscard]] virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) = 0;

  /// Non-blocking. Any length: pieces below 2^31 bytes inside. Messages of one (pair, tag) arrive in order.
  [[nodiscard]] virtual std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) = 0;
  /// From kAnyone: a single piece, and nothing else is received with this tag.
  [[nodiscard]] virtual std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) = 0;

  /// For those who wait for what other processes write into shared memory: throws where a worker of the group has
  /// failed and the others live on. (Where that ends all of them, there is nothing to do.)
  virtual void check() const {}

  /// Between these two the worker waits for messages of this group that a thread moves. For those who watch.
  virtual void begin_wait() {}
  virtual void end_wait() {}

  /// Collective. Workers that pass the same colour form a group, ordered by their rank here.
  [[nodiscard]] virtual std::unique_ptr<Communicator> split(int colour) = 0;
  /// Collective. Workers that can share memory with me (same node).
  [[nodiscard]] virtual std::unique_ptr<Communicator> split_by_node() = 0;
  /// Collective over a one-node group; `bytes` is my own segment's size and may be 0.
  [[nodiscard]] virtual std::unique_ptr<SharedSegments> share(std::int64_t bytes,
                                                              Filling filling = Filling::kWhole) = 0;
};

/// The worker waits for messages of a group while this is alive.
class MessageWait {
 public:
  explicit MessageWait(Communicator& group) : group_(group) { group_.begin_wait(); }
  MessageWait(const MessageWait&) = delete;
  MessageWait& operator=(const MessageWait&) = delete;
  ~MessageWait() { group_.end_wait(); }

 private:
  Communicator& group_;
};

/// Broadcast of a string of any length, from `root`.
[[nodiscard]] std::string broadcast_string(Communicator& group, std::string text, int root);
/// Every worker's text, by rank.
[[nodiscard]] std::vector<std::string> all_gather_strings(Communicator& group, const std::string& mine);

}  // namespace ballast
