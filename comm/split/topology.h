// Defines: Topology: which workers share memory.
#pragma once

#include <vector>

#include "comm/communicator.h"

namespace ballast {

class Topology {
 public:
  /// Collective over `world`. `node` is the group of workers that share memory with me.
  Topology(Communicator& world, Communicator& node);

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int workers() const { return static_cast<int>(node_of_.size()); }
  [[nodiscard]] int nodes() const { return static_cast<int>(members_.size()); }
  [[nodiscard]] int my_node() const { return node_of(rank_); }
  [[nodiscard]] int node_of(int rank) const { return node_of_[static_cast<std::size_t>(rank)]; }
  /// World ranks on a node, rising: the order of the node's own communicator.
  [[nodiscard]] const std::vector<int>& members(int node) const { return members_[static_cast<std::size_t>(node)]; }
  /// The worker on `node` that exchanges slices of `bucket` with their owner on another node. Spreads the traffic over
  /// the workers.
  [[nodiscard]] int contact(int node, int owner, int bucket) const;

 private:
  int rank_;
  std::vector<int> node_of_;
  std::vector<std::vector<int>> members_;  ///< by node; nodes are numbered by their first rank
};

}  // namespace ballast
