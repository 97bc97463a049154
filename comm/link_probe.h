// Defines: ExchangePattern, ring, LinkProbe, first_of_each_node: messages between nodes, timed while they travel as
// training's do.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/link_cost.h"

namespace ballast {

/// Partners of my messages: number i goes to `to`[i modulo its size], and one from `from`[...] comes in. Both empty: I
/// look on.
struct ExchangePattern {
  const char* name = "";
  std::vector<int> to, from;
};

/// Everyone sends to the one so many ranks on.
[[nodiscard]] ExchangePattern ring(int rank, int nodes, int distance);

/// Every call is collective over the group that it was made with, and its result is the same on all of it.
class LinkProbe {
 public:
  static constexpr std::int64_t kPieceBytes = 256 << 10;  ///< the longest message: training cuts longer ones

  /// `nodes`: two workers or more, each on another node. Takes 4 MiB.
  explicit LinkProbe(Communicator& nodes);
  LinkProbe(const LinkProbe&) = delete;
  LinkProbe& operator=(const LinkProbe&) = delete;
  ~LinkProbe();

  /// Seconds of one way between the first two nodes, the median of at most 200 pings. Ends after some 30 ms, or three
  /// pings.
  [[nodiscard]] double latency();

  /// Of the slowest node.
  struct Seconds {
    double all = 0.0;     ///< of the whole exchange
    double steady = 0.0;  ///< of `count` messages
  };
  /// Everyone sends and receives messages of `bytes`, at most kPieceBytes, several under way at a time: first a lead of
  /// 256 KiB or 512 messages, and right behind it the `count` that are timed. When the lead is here all nodes are at
  /// it, and links run at the rate that they can keep up: many let the first bytes after a pause pass faster.
  [[nodiscard]] Seconds exchange(const ExchangePattern& pattern, std::int64_t bytes, std::int64_t count);

  /// Messages of 64 bytes to 256 KiB, from everyone to one other at a time. About half a second at most, or on slow
  /// links the time in which they carry 3 MiB: 1.3 s at 20 Mbit/s.
  [[nodiscard]] LinkCost measure();

 private:
  class Messages;

  [[nodiscard]] Seconds exchange_with_next(std::int64_t bytes, std::int64_t count);
  [[nodiscard]] double time_messages(std::int64_t bytes, double expected);

  Communicator& nodes_;
  std::unique_ptr<Messages> messages_;
  int exchanges_ = 0;   ///< of measure(), so far
  double spent_ = 0.0;  ///< seconds, by all nodes' clocks
};

/// Collective. The group of one worker of every node, rank 0 among them; null on all others.
[[nodiscard]] std::unique_ptr<Communicator> first_of_each_node(Communicator& world);

}  // namespace ballast
