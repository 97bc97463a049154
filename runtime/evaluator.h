// Defines: EvaluationResult, evaluate: loss and accuracy over a data set, the same bits on any number of workers.
#pragma once

#include <cstdint>

#include "comm/communicator.h"
#include "models/model.h"
#include "runtime/dataset.h"

namespace ballast {

struct EvaluationResult {
  double loss = 0.0;      ///< mean over targets, nats
  double accuracy = 0.0;  ///< share of targets that are the most likely class
  std::int64_t samples = 0;
};

/// Collective. Forward passes over the first `limit` samples (0: all) in micro-batches of `micro`, dealt out to the
/// workers in turn; the sums of each micro-batch are added in order. An empty data set gives samples == 0.
[[nodiscard]] EvaluationResult evaluate(Model& model, const ParameterMemory& memory, const Dataset& data,
                                        std::int64_t micro, std::int64_t limit, Communicator& world);

}  // namespace ballast
