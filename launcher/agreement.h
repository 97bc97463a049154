// Defines: agree_on_config: one configuration for all workers.
#pragma once

#include <functional>
#include <string>

#include "comm/communicator.h"
#include "runtime/job.h"

namespace ballast {

struct AgreedConfig {
  JobConfig config;
  std::string text;  ///< resolved: print_config
};

/// Collective. Calls `load` on rank 0 only and gives everyone its result, so that workers with other files, variables
/// or arguments cannot disagree. Its ConfigError is thrown on every worker.
[[nodiscard]] AgreedConfig agree_on_config(Communicator& world, const std::function<JobConfig()>& load);

}  // namespace ballast
