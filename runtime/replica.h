// Defines: Replica: one copy of the weights, and this worker's part in training it.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "comm/split_allreduce.h"
#include "runtime/coordinator.h"
#include "runtime/group_layout.h"
#include "runtime/value_check.h"
#include "runtime/worker.h"

namespace ballast {

/// What all replicas of a job have in common. References must outlive them.
struct ReplicaParts {
  const JobConfig& config;
  Backend& backend;
  Model& model;
  const Dataset& data;
  const BatchPlan& plan;
  std::int64_t micro = 1;  ///< samples per micro-batch
  std::int64_t total_steps = 1;
  std::int64_t bucket_bytes = 0;
  PhaseClock& clock;
};

struct Replica {
  /// Collective over the team. `tensors`: how checkpoints name what it holds.
  Replica(const ReplicaParts& parts, Communicator& workers, ShardRange shards_of_step, TensorNames tensors);

  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  ShardRange shards;   ///< of a step
  Communicator& team;  ///< the workers that train it together
  std::unique_ptr<SplitAllReduce> reduction;
  Worker worker;
  Coordinator coordinator;
  ValueCheck copies;

  /// For passes over the model.
  [[nodiscard]] ParameterMemory values() const;
};

}  // namespace ballast
