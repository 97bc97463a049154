#include "comm/split/topology.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>

namespace ballast {

Topology::Topology(Communicator& world, Communicator& node) : rank_(world.rank()) {
  std::int64_t first = rank_;
  node.all_reduce(std::span(&first, 1), Reduction::kMin);
  std::map<std::int64_t, int> numbers;
  for (const auto& bytes : world.all_gather(std::as_bytes(std::span(&first, 1)))) {
    std::int64_t name = 0;
    std::memcpy(&name, bytes.data(), sizeof(name));
    const auto [place, is_new] = numbers.try_emplace(name, nodes());
    if (is_new) members_.emplace_back();
    members_[static_cast<std::size_t>(place->second)].push_back(workers());
    node_of_.push_back(place->second);
  }
}

int Topology::contact(int node, int owner, int bucket) const {
  const std::vector<int>& theirs = members(node_of(owner));
  const auto place = std::lower_bound(theirs.begin(), theirs.end(), owner) - theirs.begin();
  const std::vector<int>& ours = members(node);
  return ours[static_cast<std::size_t>(place + bucket) % ours.size()];
}

}  // namespace ballast
