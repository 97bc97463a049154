// Defines: RunResult, train: a whole training job, from a resolved configuration to its end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "compute/error.h"
#include "runtime/devices.h"
#include "runtime/job.h"
#include "runtime/observer.h"

namespace ballast {

struct RunResult {
  ExitCode code = ExitCode::kOk;  ///< kOk, or kStopped after a checkpoint: run the same command again
  std::int64_t step = 0;
  double loss = 0.0;  ///< of the last step
  std::optional<double> validation_loss, validation_accuracy;
};

/// Collective over `world`; every worker passes the same config. `config_text` is the resolved job file, kept in the
/// run folder and in every checkpoint. `observer` is called on rank 0 only. Throws ConfigError, DataError or Error; see
/// compute/error.h.
RunResult train(const JobConfig& config, const std::string& config_text, Communicator& world, Observer& observer,
                const BackendMaker& make = make_backend);

}  // namespace ballast
