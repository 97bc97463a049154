// Defines: LinkCost, MessageTime, fit_link_cost: what messages between nodes cost.
#pragma once

#include <cstdint>
#include <vector>

namespace ballast {

/// Of a node's link while all nodes send and receive at once: alpha and beta. A message of s bytes is followed by the
/// next one after max(alpha, s / beta) seconds: what software and card do for a message, and the link for its bytes, go
/// on side by side (the gaps g and G of LogGP: Alexandrov, Ionescu, Schauser, Scheiman 1995).
struct LinkCost {
  double latency = 0.0;           ///< seconds from the call of a send to a short message being there, one way
  double piece_seconds = 0.0;     ///< alpha, of a message of at most 256 KiB
  double bytes_per_second = 0.0;  ///< beta, in each direction
};

/// Messages of one size, one behind the other: a new one every `seconds`.
struct MessageTime {
  std::int64_t bytes = 0;
  double seconds = 0.0;
};

/// Alpha from the shorter ones of the messages, beta from the longer ones: least squares of the times' logarithms on
/// either side of the border at which both together are least. (A common sum alpha + s / beta would let each spoil the
/// other: fitted to a link of 119 MB/s it says 160.) `times`: two or more, of positive size and time. The latency is
/// not set.
[[nodiscard]] LinkCost fit_link_cost(std::vector<MessageTime> times);

}  // namespace ballast
