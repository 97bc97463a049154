// Defines: StepTotals, Worker: computes the gradients of its shards.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/split_allreduce.h"
#include "models/model.h"
#include "runtime/dataset.h"

namespace ballast {

/// Loss sums of one step, by shard. A worker fills in its own shards; the coordinators' step collective fills in the
/// rest.
struct StepTotals {
  explicit StepTotals(int shards) : loss(shards), rows(shards), correct(shards) {}
  std::vector<double> loss, rows, correct;

  void clear();
  /// Added in shard order, so equal for any number of workers.
  [[nodiscard]] double mean_loss() const;
};

class Worker {
 public:
  /// `micro`: samples per micro-batch, at most model.max_samples(). All references must outlive the worker.
  Worker(Model& model, SplitAllReduce& gradients, const Dataset& data, const BatchPlan& plan, std::int64_t micro);

  /// Forward and backward of my shards of `step` (from 0), in shard order. During the last shard finished ends of the
  /// gradient buffer are handed to the all-reduce at once.
  void compute_gradients(std::int64_t step, StepTotals& totals);

 private:
  void compute_shard(std::int64_t step, int shard, bool last, StepTotals& totals);

  Model& model_;
  SplitAllReduce& gradients_;
  const Dataset& data_;
  const BatchPlan& plan_;
  std::int64_t micro_;
  Samples samples_;
};

}  // namespace ballast
