#include "runtime/threads.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace ballast {
namespace {

struct NodeCores {
  std::int64_t mine = 1;    // cores this worker may use
  std::int64_t summed = 1;  // over the node's workers; a core counts once for each worker that may use it
  std::int64_t shared = 1;  // cores that any of them may use
};

NodeCores count_cores(Communicator& node) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  sched_getaffinity(0, sizeof(mask), &mask);
  NodeCores cores{.mine = CPU_COUNT(&mask), .summed = 0};
  cpu_set_t any;
  CPU_ZERO(&any);
  for (const std::vector<std::byte>& bytes : node.all_gather(std::as_bytes(std::span(&mask, 1)))) {
    cpu_set_t other;
    std::memcpy(&other, bytes.data(), sizeof(other));
    cores.summed += CPU_COUNT(&other);
    CPU_OR(&any, &any, &other);
  }
  cores.shared = CPU_COUNT(&any);
  return cores;
}

}  // namespace

ThreadChoice threads_for_worker(Communicator& world, std::int64_t asked) {
  const auto node = world.split_by_node();
  const NodeCores cores = count_cores(*node);
  const std::int64_t share =
      std::max<std::int64_t>(1, cores.mine * cores.shared / std::max<std::int64_t>(1, cores.summed));
  ThreadChoice choice{.threads = static_cast<int>(asked > 0 ? asked : share)};
  std::int64_t threads = choice.threads;
  node->all_reduce(std::span(&threads, 1), Reduction::kSum);
  if (choice.threads > cores.mine) {
    choice.warning = std::to_string(choice.threads) + " threads per worker on " + std::to_string(cores.mine) +
                     (cores.mine == 1 ? " core" : " cores") +
                     ": lower compute.threads, or start mpirun with --bind-to none";
  } else if (threads > cores.shared) {
    choice.warning = std::to_string(node->size()) + " workers run " + std::to_string(threads) + " threads on " +
                     std::to_string(cores.shared) + (cores.shared == 1 ? " core" : " cores") +
                     " of a node: start fewer workers or lower compute.threads";
  }
  return choice;
}

}  // namespace ballast
