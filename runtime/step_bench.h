// Defines: StepBenchOptions, StepBenchReport, bench_step: where the time of a job's steps goes, against the roof.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "models/model.h"
#include "runtime/job.h"
#include "runtime/phase_clock.h"
#include "runtime/roof.h"

namespace ballast {

struct StepBenchOptions {
  double seconds = 10.0;      ///< of measured steps, about; at least three
  double roof_seconds = 1.0;  ///< of measuring what the machine gives
};

/// Phases and operations are means over the workers and over the quieter half of the steps: those that took no longer
/// than the median.
struct StepBenchReport {
  int workers = 1, threads = 1;
  std::int64_t bucket_bytes = 0;      ///< given, or chosen for this network
  std::int64_t steps = 0;             ///< measured
  double samples = 0.0, items = 0.0;  ///< of a step, all workers; an item is a token or a sample
  const char* item = "samples";
  /// Of a step, on the worker that took longest for all.
  double mean_seconds = 0.0, median_seconds = 0.0, least_seconds = 0.0, most_seconds = 0.0;
  PhaseSeconds phases{};                  ///< of a step
  std::vector<OperationCost> operations;  ///< of a step and one worker: seconds, operations and bytes of its samples

  Roof roof;                       ///< of one worker
  double flops = 0.0;              ///< of a step, all workers
  double activation_bytes = 0.0;   ///< of a step, all workers: see OperationCost::bytes
  double update_bytes = 0.0;       ///< of a step, all workers: sums over shards, norm and optimizer
  std::vector<double> peak_bytes;  ///< by worker: most memory ever resident, shared memory counted whole
  double node_bytes = 0.0;         ///< of this worker's node after the last step, shared memory counted once

  /// The least time that a step can take on this machine: operations at the rate of a large matrix product, and bytes
  /// at the bandwidth of memory, with every worker at work all the time.
  [[nodiscard]] double roof_step_seconds() const;
};

/// Collective: runs steps of the job as training does, and keeps nothing.
[[nodiscard]] StepBenchReport bench_step(const JobConfig& config, Communicator& world, const StepBenchOptions& options);

}  // namespace ballast
