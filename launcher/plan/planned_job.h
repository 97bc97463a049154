// Defines: BatchCut, cut_batch, GradientParts, gradient_parts, update_bytes, planned_bucket_bytes, load_of: a job cut
// up for a number of workers, before anything is allocated.
#pragma once

#include <cstdint>

#include "launcher/plan/step_model.h"
#include "models/model.h"
#include "runtime/job.h"

namespace ballast {

/// How a step's batch is cut.
struct BatchCut {
  int shards = 1;
  std::int64_t shard = 1;  ///< samples of the largest shard
  std::int64_t micro = 1;  ///< samples that go through the model at once
};
/// ConfigError when there are more workers than shards.
[[nodiscard]] BatchCut cut_batch(const JobConfig& config, int workers);

/// What a worker has of the gradient.
struct GradientParts {
  std::int64_t buffers = 1;   ///< most buffers at a time, of any worker: the stack that its shards are added up on
  std::int64_t parts = 1;     ///< most partial sums that a worker ends up with
  std::int64_t subtrees = 1;  ///< most partial sums of a node, when it has added what it can
};
[[nodiscard]] GradientParts gradient_parts(int workers, int workers_per_node, int shards);

/// Bytes of memory that updating an element takes: the sum is read, value and states are read and written, and the bf16
/// copy is written.
[[nodiscard]] double update_bytes(const JobConfig& config);

/// The buckets that training would cut a gradient of `elements` into, with the links of `cluster`.
[[nodiscard]] std::int64_t planned_bucket_bytes(const JobConfig& config, std::int64_t elements, const Ownership& who);

/// Of the busiest worker. `model` may be planned for any number of samples.
[[nodiscard]] StepLoad load_of(const JobConfig& config, Model& model, const Ownership& who);

}  // namespace ballast
