#include "runtime/devices.h"

#include <unistd.h>

#include <array>

#include "compute/error.h"

namespace ballast {
namespace {

/// What the first worker of a node found there.
struct NodeDevices {
  std::string host;
  std::int64_t workers = 0;
  std::int64_t devices = 0;  ///< the fewest that any of its workers sees
  std::string problem;       ///< why there is none
};

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "a node without a name";
}

NodeDevices look_at_node(Communicator& node, const DeviceReport& mine) {
  NodeDevices found{.host = host_name(), .workers = node.size()};
  found.devices = static_cast<std::int64_t>(mine.devices.size());
  node.all_reduce({&found.devices, 1}, Reduction::kMin);
  for (const std::string& problem : all_gather_strings(node, mine.problem)) {
    if (found.problem.empty()) found.problem = problem;
  }
  return found;
}

std::string count(std::int64_t number, const char* what) {
  return std::to_string(number) + ' ' + what + (number == 1 ? "" : "s");
}

/// What is missing on a node; empty where each of its workers has a device.
std::string shortage_of(const NodeDevices& node) {
  if (node.devices >= node.workers) return "";
  if (node.devices == 0) {
    return "there is no device on " + node.host + (node.problem.empty() ? "" : " (" + node.problem + ")");
  }
  return node.host + " has " + count(node.workers, "worker") + " and " + count(node.devices, "CUDA device") +
         ", and every worker needs one of its own: start at most " + std::to_string(node.devices) +
         " there (mpirun --map-by ppr:" + std::to_string(node.devices) +
         ":node), or let CUDA_VISIBLE_DEVICES show every worker more of them (Slurm: --gpus-per-node)";
}

/// Of the first node, by rank, that is short of devices.
struct Shortage {
  std::string text;
  bool none_at_all = true;  ///< no node has a device
};

Shortage shortage_anywhere(Communicator& world, Communicator& node, const NodeDevices& mine) {
  Shortage shortage;
  const bool speaks = node.rank() == 0;
  for (const std::string& text : all_gather_strings(world, speaks ? shortage_of(mine) : "")) {
    if (shortage.text.empty()) shortage.text = text;
  }
  std::int64_t devices = mine.devices;
  world.all_reduce({&devices, 1}, Reduction::kMax);
  shortage.none_at_all = devices == 0;
  return shortage;
}

/// What compute.backend makes worth looking for. A folder of plugins was named for a reason: they may need no driver.
DeviceReport devices_for(const ComputeSection& compute) {
  if (compute.backend == "cpu") return {};
  if (compute.backend == "auto" && compute.plugins.empty() && !driver_is_here()) return {.problem = "no driver"};
  return find_devices(compute.plugins);
}

}  // namespace

DeviceChoice choose_device(Communicator& world, const std::string& asked, const DeviceReport& mine) {
  if (asked == "cpu") return {.backend = "cpu"};
  const auto node = world.split_by_node();
  const Shortage shortage = shortage_anywhere(world, *node, look_at_node(*node, mine));
  if (shortage.text.empty()) return {.backend = "cuda", .device = node->rank()};
  if (asked == "cuda") {
    throw ConfigError("compute.backend = \"cuda\" but " + shortage.text + "; \"auto\" and \"cpu\" do without");
  }
  DeviceChoice choice{.backend = "cpu"};
  if (!shortage.none_at_all)
    choice.warning = "the job runs on the processors although there are GPUs: " + shortage.text;
  return choice;
}

WorkerBackend make_worker_backend(Communicator& world, const ComputeSection& compute, int threads,
                                  const BackendMaker& make) {
  const DeviceChoice choice = choose_device(world, compute.backend, devices_for(compute));
  return {make({.name = choice.backend,
                .threads = threads,
                .device = choice.device,
                .plugins = compute.plugins,
                .tf32 = compute.tf32}),
          choice.warning};
}

}  // namespace ballast
