// Defines: DeviceChoice, choose_device, make_worker_backend: what each worker computes on.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "compute/backend.h"
#include "compute/devices.h"
#include "runtime/job.h"

namespace ballast {

struct DeviceChoice {
  std::string backend;  ///< "cpu" | "cuda", the same on every worker
  int device = 0;       ///< rank of this worker on its node
  std::string warning;  ///< the same on every worker; not empty when devices are there and stay idle
};

/// Collective. `asked` is compute.backend, `mine` what this worker sees. Worker r of a node takes the node's device r.
/// "auto" takes devices only where every node has one for each of its workers. Throws ConfigError, the same on every
/// worker, when "cuda" is asked for and some node has too few.
[[nodiscard]] DeviceChoice choose_device(Communicator& world, const std::string& asked, const DeviceReport& mine);

/// make_backend, or a test's stand-in for it.
using BackendMaker = std::function<std::unique_ptr<Backend>(const BackendOptions&)>;

struct WorkerBackend {
  std::unique_ptr<Backend> backend;
  std::string warning;  ///< see DeviceChoice
};

/// Collective. Looks for devices unless compute.backend is "cpu", chooses, and makes the backend with `threads`.
[[nodiscard]] WorkerBackend make_worker_backend(Communicator& world, const ComputeSection& compute, int threads,
                                                const BackendMaker& make = make_backend);

}  // namespace ballast
