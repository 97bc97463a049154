// Defines: agree_on_config: one configuration for all workers.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "runtime/job.h"

namespace ballast {

struct AgreedConfig {
  JobConfig config;
  std::string text;  ///< resolved: print_config
};

/// Collective. Calls `load` on rank 0 only and gives everyone its result, so that workers with other files, variables
/// or arguments cannot disagree. A mistake is printed once, by rank 0, and every worker gets nullopt: it leaves with
/// ExitCode::kConfig, in order.
[[nodiscard]] std::optional<AgreedConfig> agree_on_config(Communicator& world, const std::function<JobConfig()>& load);

}  // namespace ballast
