// Defines: Predictor, described: steps of one job on any number of nodes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "launcher/plan/planned_job.h"

namespace ballast {

/// The workers of the job's cluster with so many nodes.
[[nodiscard]] Ownership described(const JobConfig& config, std::int64_t nodes);

/// What a node has to do in a step, and whenever copies are brought together.
struct JobLoad {
  StepLoad step;
  std::optional<OuterLoad> outer;
};

/// A job whose model has been built once. `config` must outlive it.
class Predictor {
 public:
  explicit Predictor(const JobConfig& config);

  /// ConfigError where so many nodes could not run the job.
  [[nodiscard]] JobLoad load(std::int64_t nodes);
  /// On so many nodes each of which has `load`.
  [[nodiscard]] StepPrediction predict(const JobLoad& load, std::int64_t nodes, double bucket_mib) const;
  /// Of training's buckets.
  [[nodiscard]] double bucket_mib(std::int64_t nodes) const;
  [[nodiscard]] double predict_seconds(const JobLoad& load, std::int64_t nodes) const {
    return predict(load, nodes, bucket_mib(nodes)).seconds;
  }
  [[nodiscard]] const InputSpec& input() const { return model_.input(); }

 private:
  [[nodiscard]] StepPrediction predict_copies(const JobLoad& load, const Ownership& who,
                                              std::int64_t bucket_bytes) const;

  const JobConfig& config_;
  ClusterSection cluster_;
  Model model_;
  std::vector<Block> blocks_;
  std::vector<std::vector<Block>> fragments_;  ///< with [outer]
};

}  // namespace ballast
