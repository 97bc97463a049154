// Defines: TrainedModel, open_trained_model: a checkpoint opened for use by `eval` and `generate`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "comm/communicator.h"
#include "compute/backend.h"
#include "models/model.h"
#include "runtime/job.h"
#include "runtime/weights.h"

namespace ballast {

struct TrainedModel {
  Checkpoint checkpoint;
  JobConfig config;
  std::unique_ptr<Backend> backend;
  Model model;
  Weights weights;
};

/// Collective. Opens the newest sound checkpoint that `path` stands for; the job file in it, with overrides and
/// variables on rank 0, says which model and data. `micro` is the model's largest batch; 0: as it was trained. Warnings
/// about damaged newer checkpoints go to rank 0's stderr. nullopt after mistakes in the overrides, which have been
/// printed.
[[nodiscard]] TrainedModel open_trained_model(Communicator& world, const std::string& path,
                                              const std::vector<std::string>& overrides, std::int64_t micro);

}  // namespace ballast
