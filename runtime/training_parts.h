// Defines: JobLayout, TrainingParts: what the steps of a job are made of.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "runtime/bucket_choice.h"
#include "runtime/coordinator.h"
#include "runtime/worker.h"

namespace ballast {

/// How a step's batch is cut, and this worker's threads.
struct JobLayout {
  int shards = 1;
  std::int64_t micro = 1;  ///< samples per micro-batch
  int threads = 1;
};

/// `resumed_shards`: of the checkpoint that the job goes on from.
[[nodiscard]] JobLayout layout_of(const JobConfig& config, std::optional<int> resumed_shards, int workers, int threads);

/// Made in the order of its members. compute_gradients(step) and update(step + 1) by turns are training.
struct TrainingParts {
  /// Collective. Allocates everything that a step needs; values are not set yet. Throws what opening the data and
  /// building the model throw.
  TrainingParts(const JobConfig& config, const JobLayout& layout, Communicator& world,
                std::unique_ptr<Backend> backend_of_worker);

  [[nodiscard]] ParameterMemory values() const {
    return {.values = reduction->values(),
            .compute_values = reduction->compute_values(),
            .gradients = {},
            .wait_for_values = [this](std::int64_t end) { reduction->wait_for_values(end); }};
  }

  std::unique_ptr<Backend> backend;
  Model model;
  Datasets data;
  BatchPlan plan;
  std::int64_t total_steps;
  BucketChoice buckets;
  std::unique_ptr<SplitAllReduce> reduction;
  PhaseClock clock;
  Worker worker;
  Coordinator coordinator;
};

}  // namespace ballast
