// Defines: StepLoad, predict_step: one step of training in a steady state, simulated.
//
// What is simulated is one worker with its share of its node's memory and its node's link, which by symmetry is every
// worker: nodes are alike, start together and have equal links to a network that is never in the way. Three steps run,
// so that the third finds the links as the one before left them; it is the prediction. docs/scaling.md says what is
// left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/plan/bucket_window.h"
#include "launcher/plan/exchange.h"
#include "launcher/plan/step_prediction.h"
#include "runtime/job.h"

namespace ballast {

/// What a step asks of a node, whatever its neighbours are.
struct StepLoad {
  /// Of one micro-batch.
  struct Operation {
    std::string name;
    double forward_flops = 0.0, forward_bytes = 0.0;
    double backward_flops = 0.0, backward_bytes = 0.0;
    std::vector<int> again;  ///< this and the rest: see OperationCost
    ValueRanges values, backward_values;
    std::int64_t ready_offset = 0;
  };
  std::vector<Operation> operations;  ///< in forward order
  std::int64_t passes = 1;            ///< micro-batches of a worker in a step
  double shard_additions = 0.0;       ///< times that a worker adds one gradient to another before its last shard ends
  double parts = 1.0;                 ///< partial sums of the gradient that a worker ends up with
  double subtrees = 1.0;              ///< partial sums of the gradient that a node sends
  bool coded = false;                 ///< sums are coded, on the owner's node too
  bool coding_errors = false;         ///< ... and what that leaves out is kept
  double update_bytes = 28.0;         ///< of memory, per element: gradient, values and optimizer state
  bool free_gradients = false;        ///< comm.sharding = "gradients" or "values"
  bool gather_values = false;         ///< comm.sharding = "values"
  /// What the operations of a pass read, one after the other.
  [[nodiscard]] std::vector<ValueRanges> reads() const;
};

/// `cluster` has no zeros where zero means "measured here".
[[nodiscard]] StepPrediction predict_step(const StepLoad& load, const std::vector<BucketLoad>& buckets,
                                          const Ownership& who, const ClusterSection& cluster);

}  // namespace ballast
