// Defines: Forecast, make_forecast: what a job would do on a described cluster.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/plan/memory_use.h"
#include "launcher/plan/step_prediction.h"
#include "runtime/job.h"

namespace ballast {

struct Forecast {
  ClusterSection cluster;       ///< as given, with what was measured in place of zeros
  bool rates_measured = false;  ///< some of `cluster` was measured here
  StepPrediction step;
  double items_per_step = 0.0;
  const char* item = "samples";  ///< "tokens" | "samples"

  /// Memory of the busiest worker at one sharding level, in bytes.
  struct Level {
    std::string sharding;
    MemoryUse memory;
    std::int64_t node = 0;  ///< of a node with all its workers
  };
  std::vector<Level> levels;

  bool bucket_is_automatic = false;  ///< the job leaves it to training
  /// The job's own bucket size, then others on the same cluster.
  struct BucketChoice {
    double mib = 0.0, seconds = 0.0;
  };
  std::vector<BucketChoice> buckets;
  BucketChoice best_bucket;

  struct Scale {
    std::int64_t nodes = 1;
    double seconds = 0.0;          ///< of a step, every worker with as much work as on the described cluster
    double efficiency = 1.0;       ///< one node's seconds over these
    BucketChoice best_bucket;      ///< among `buckets`
    double best_efficiency = 1.0;  ///< with it
    std::optional<double> fixed_batch_efficiency;  ///< of the job's own batch, where it has shards for so many workers
  };
  std::vector<Scale> scaling;

  struct Saving {
    double bytes = 0.0;                              ///< of a checkpoint, all nodes together
    double write_seconds = 0.0;                      ///< behind training
    double stall_seconds = 0.0;                      ///< of the step that takes the snapshot
    double mean_seconds_between_failures = 0.0;      ///< of the cluster; 0: never
    double young_seconds = 0.0, daly_seconds = 0.0;  ///< between checkpoints; 0 where nothing fails
    double lost_share = 0.0;  ///< of time, with daly_seconds: saving, and doing again what a failure undid
  } saving;

  struct Budget {
    double items = 0.0, steps = 0.0, seconds = 0.0, kilowatt_hours = 0.0, cost = 0.0;
  };
  std::optional<Budget> budget;

  std::int64_t node_memory = 0;  ///< bytes that a node needs, as configured
  [[nodiscard]] bool fits() const;
  struct Remedy {
    std::string change;  ///< "batch.micro=1 memory.recompute=block"
    std::int64_t node_memory = 0;
    double seconds = 0.0;  ///< of a step
  };
  std::vector<Remedy> remedies;  ///< where it does not fit
};

/// `cluster` of the config has nodes and no zero where zero means "measured here". `items`: how many tokens or samples
/// are to be trained on; 0: no budget. ConfigError as make_plan.
[[nodiscard]] Forecast make_forecast(const JobConfig& config, double items);

/// Young 1974 and Daly 2006: seconds of work between checkpoints that cost `cost` seconds each, for a mean time between
/// failures of `mean` seconds.
[[nodiscard]] double young_interval(double cost, double mean);
[[nodiscard]] double daly_interval(double cost, double mean);

}  // namespace ballast
