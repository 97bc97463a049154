// Defines: Weights: the values of a checkpoint in one worker's own memory, for evaluation and generation.
#pragma once

#include "checkpoints/checkpoint.h"
#include "compute/backend.h"
#include "models/model.h"

namespace ballast {

class Weights {
 public:
  /// Reads every weight of `model` and checks its digests. DataError naming the first tensor that is missing or has
  /// another shape.
  Weights(const Checkpoint& checkpoint, const Model& model, Backend& backend);
  [[nodiscard]] ParameterMemory memory() const { return {values_.span(), compute_values_.span(), {}}; }

 private:
  Buffer values_, compute_values_;
};

}  // namespace ballast
