// Defines: OuterLoad, predict_period: the mean step where groups of shards train copies of their own ([outer]).
//
// Between exchanges all steps are alike: their length is that of one simulated step of one copy (step_model.h). What is
// simulated here are the exchanges, beside and between them, as runtime/outer_training.h orders them: a fragment's
// differences leave behind its step; half of the delay later the worker waits for those of the others, sums up and
// sends new outer values; when the delay is over it waits for theirs. Three periods of `every` steps run, and the third
// is the prediction.
#pragma once

#include <cstdint>
#include <vector>

#include "launcher/plan/exchange.h"
#include "launcher/plan/step_prediction.h"
#include "launcher/plan/sum_work.h"
#include "runtime/job.h"

namespace ballast {

/// Bytes are of memory.
struct OuterLoad {
  std::int64_t every = 1, delay = 0;
  Ownership team;          ///< who trains a copy together
  double of_worker = 1.0;  ///< copies that a worker trains, one after the other
  double of_node = 1.0;    ///< copies of a node's workers; of those on several nodes, its share
  double led = 1.0;        ///< groups whose differences a leading node hands over: one node of each team
  SumWork sums;            ///< ... of these
  double update_bytes = 20.0, take_over_bytes = 8.0;  ///< per outer value; per value of a copy
  double refresh_bytes = 0.0;                         ///< per value of a copy, whenever some were taken over
};

/// `inner`: the step of one copy; `copy`: its buckets, among the team; `fragments`: theirs, among `who`, all of the
/// same weights. `cluster` as for predict_step.
[[nodiscard]] StepPrediction predict_period(const OuterLoad& load, const StepPrediction& inner,
                                            const std::vector<BucketLoad>& copy,
                                            const std::vector<std::vector<BucketLoad>>& fragments, const Ownership& who,
                                            const ClusterSection& cluster);

}  // namespace ballast
