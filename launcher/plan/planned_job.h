// Defines: update_bytes, planned_bucket_bytes, load_of, outer_load_of, fragment_blocks: a job's work for a number of
// workers, before anything is allocated.
#pragma once

#include <cstdint>
#include <vector>

#include "launcher/plan/outer_model.h"
#include "launcher/plan/step_model.h"
#include "models/model.h"
#include "runtime/job.h"

namespace ballast {

/// Bytes of memory that updating an element takes: the sum is read, value and states are read and written, and the bf16
/// copy is written.
[[nodiscard]] double update_bytes(const JobConfig& config);

/// The buckets that training would cut a gradient of `elements` into, with the links of `cluster`.
[[nodiscard]] std::int64_t planned_bucket_bytes(const JobConfig& config, std::int64_t elements, const Ownership& who);

/// A step of one copy of the weights: of the busiest of all workers `who`. `model` may be planned for any number of
/// samples.
[[nodiscard]] StepLoad load_of(const JobConfig& config, Model& model, const Ownership& who);
/// With [outer]: of the exchanges between copies.
[[nodiscard]] OuterLoad outer_load_of(const JobConfig& config, const Ownership& who);
/// Blocks of each fragment, counted from its begin.
[[nodiscard]] std::vector<std::vector<Block>> fragment_blocks(const ParameterTable& parameters,
                                                              const OuterSection& outer);

}  // namespace ballast
