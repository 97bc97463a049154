// Defines: make_plan: what a job needs, from the planned graph, without allocating it.
#pragma once

#include "launcher/reports.h"
#include "runtime/job.h"

namespace ballast {

/// `workers` lie evenly on `nodes`. ConfigError when the model's sizes do not fit together or there are more workers
/// than shards. The report has no forecast.
[[nodiscard]] PlanReport make_plan(const JobConfig& config, int workers, int nodes = 1);

}  // namespace ballast
