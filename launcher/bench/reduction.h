// Defines: OrderedStep, UnorderedStep, gpt2_parameters, flat_parameters: the second half of a training step, without a
// model in front of it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/split_allreduce.h"
#include "compute/backend.h"
#include "models/parameters.h"
#include "runtime/coordinator.h"

namespace ballast {

/// One trained parameter of so many elements.
[[nodiscard]] ParameterTable flat_parameters(std::int64_t elements);
/// Those of GPT-2 with 124 million weights (Radford et al. 2019).
[[nodiscard]] ParameterTable gpt2_parameters();

/// What both ways of a step have in common: fill() makes the gradients of this worker, run() is what is timed. All
/// methods are collective.
class ReductionStep {
 public:
  virtual ~ReductionStep() = default;
  virtual void fill() = 0;
  virtual void run() = 0;
};

/// The code that trains: SplitAllReduce with one shard per worker, and the Coordinator's reduce, norm, clip, AdamW and
/// publish. Memory per node: 4 bytes per element and worker, and 12.
[[nodiscard]] std::unique_ptr<ReductionStep> ordered_step(const ParameterTable& parameters, DType compute,
                                                          Communicator& world, Backend& backend);

/// MPI's all-reduce, then norm, clip and AdamW of everything on every worker. Memory per worker: 16 bytes per element.
[[nodiscard]] std::unique_ptr<ReductionStep> unordered_step(std::int64_t elements, Backend& backend);

}  // namespace ballast
