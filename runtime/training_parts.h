// Defines: JobLayout, TrainingParts: what the steps of a job are made of.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/bucket_choice.h"
#include "runtime/outer_training.h"
#include "runtime/replica.h"

namespace ballast {

/// How a step's batch is cut, and this worker's threads.
struct JobLayout {
  int shards = 1;
  std::int64_t micro = 1;  ///< samples per micro-batch
  int threads = 1;
};

/// `resumed_shards`: of the checkpoint that the job goes on from.
[[nodiscard]] JobLayout layout_of(const JobConfig& config, std::optional<int> resumed_shards, int workers, int threads);

/// Made in the order of its members.
struct TrainingParts {
  /// Collective. Allocates everything that a step needs; values are not set yet. Throws what opening the data and
  /// building the model throw.
  TrainingParts(const JobConfig& config, const JobLayout& layout, Communicator& world,
                std::unique_ptr<Backend> backend_of_worker);

  /// The copy of the weights that this worker trains; with [outer] the first of them.
  [[nodiscard]] Replica& replica() const { return *replicas.front(); }

  /// Collective. First values, published.
  void initialise(std::uint64_t seed);
  /// My part of everything that a checkpoint holds as tensors, in the live memory. With [outer]: behind settle().
  [[nodiscard]] std::vector<TensorPiece> pieces() const;
  /// Collective. Fills the pieces and publishes the values. Returns what is wrong with the checkpoint's bytes, the same
  /// on every worker; empty: nothing. DataError where the checkpoint has other tensors.
  [[nodiscard]] std::string load(const Checkpoint& checkpoint, Communicator& world);

  std::unique_ptr<Backend> backend;
  Model model;
  Datasets data;
  BatchPlan plan;
  std::int64_t total_steps;
  StateTensors tensors;
  BucketChoice buckets;
  GroupLayout groups;
  PhaseClock clock;
  std::unique_ptr<Communicator> team;              ///< the workers of my group; null without [outer]
  std::vector<std::unique_ptr<Replica>> replicas;  ///< one without [outer], otherwise one for each group of mine
  std::unique_ptr<OuterTraining> outer;            ///< null without [outer]
};

}  // namespace ballast
