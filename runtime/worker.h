// Defines: StepTotals, Worker: computes the gradients of its shards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/split_allreduce.h"
#include "models/model.h"
#include "runtime/batch_plan.h"
#include "runtime/phase_clock.h"
#include "runtime/prefetcher.h"

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
  /// `gradients` adds up `shards` of a step's shards: its shard 0 is shards.begin. Their mean is taken over the samples
  /// of these. `micro`: samples per micro-batch, at most model.max_samples(). All references must outlive the worker.
  Worker(Model& model, SplitAllReduce& gradients, ShardRange shards, const Dataset& data, const BatchPlan& plan,
         std::int64_t micro, PhaseClock& clock, Backend& backend);

  /// Forward and backward of my shards of `step` (from 0), in shard order. During the last shard finished ends of the
  /// gradient buffer are handed to the all-reduce at once. Adds the losses to `totals`. Leaves the clock in
  /// kCommunication.
  void compute_gradients(std::int64_t step, StepTotals& totals);

 private:
  /// Samples of one shard that go through the model at once.
  struct MicroBatch {
    int shard = 0;
    std::int64_t first = 0;  // position of its first sample in the global batch
    std::vector<std::int64_t> indices;
  };
  /// Hands it over as backward would, from the end on, so that no more of it is there at a time.
  void zero_empty_shard(DeviceSpan gradients);
  void cut_step(std::int64_t step, std::vector<MicroBatch>& pieces) const;
  void compute_micro_batch(std::int64_t step, const MicroBatch& piece, bool ends_shard, StepTotals& totals);
  void use_values(std::span<const ElementRange> now, std::span<const ElementRange> next);
  void enter_pass(Phase pass) { clock_.enter(pass_ = pass); }

  Model& model_;
  Backend& backend_;
  SplitAllReduce& gradients_;
  ShardRange shards_;
  const BatchPlan& plan_;
  std::int64_t micro_;
  PhaseClock& clock_;
  Phase pass_ = Phase::kForward;  // that a micro-batch is in
  Prefetcher reader_;
  std::vector<MicroBatch> pieces_, next_pieces_;  // of this step, and of the next
  std::int64_t next_step_ = -1;                   // the step of next_pieces_, whose first one is being read
};

}  // namespace ballast
