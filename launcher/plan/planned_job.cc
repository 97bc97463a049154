#include "launcher/plan/planned_job.h"

#include <algorithm>
#include <bit>
#include <string>

#include "comm/shards.h"
#include "compute/error.h"
#include "runtime/bucket_choice.h"
#include "runtime/optimizer.h"

namespace ballast {
namespace {

int shards_for(const JobConfig& config, int workers) {
  const int shards = config.batch.shards > 0 ? static_cast<int>(config.batch.shards)
                                             : static_cast<int>(std::bit_ceil(static_cast<unsigned>(workers)));
  if (workers > shards) {
    throw ConfigError(std::to_string(workers) + " workers are more than batch.shards = " + std::to_string(shards) +
                      ": use at most " + std::to_string(shards) + " workers, or set batch.shards to " +
                      std::to_string(std::bit_ceil(static_cast<unsigned>(workers))) + " or more");
  }
  return shards;
}

std::int64_t subtrees_of(ShardRange range, int shards) {
  return static_cast<std::int64_t>(held_subtrees(range, shards).size());
}

}  // namespace

BatchCut cut_batch(const JobConfig& config, int workers) {
  BatchCut cut{.shards = shards_for(config, workers)};
  cut.shard = (config.batch.size + cut.shards - 1) / cut.shards;
  cut.micro = config.batch.micro > 0 ? std::min(config.batch.micro, cut.shard) : cut.shard;
  return cut;
}

GradientParts gradient_parts(int workers, int workers_per_node, int shards) {
  GradientParts most;
  for (int rank = 0; rank < workers; ++rank) {
    const ShardRange mine = shards_of(rank, workers, shards);
    // Shards before the latest are added up as far as the tree allows; the latest one lies on top of them.
    for (int shard = mine.begin; shard < mine.end; ++shard) {
      most.buffers = std::max(most.buffers, 1 + subtrees_of({mine.begin, shard}, shards));
    }
    most.parts = std::max(most.parts, 1 + subtrees_of({mine.begin, mine.end - 1}, shards));
    if (rank % workers_per_node != 0) continue;
    const int last = std::min(rank + workers_per_node, workers) - 1;
    most.subtrees = std::max(most.subtrees, subtrees_of({mine.begin, shards_of(last, workers, shards).end}, shards));
  }
  return most;
}

double update_bytes(const JobConfig& config) {
  const auto states = static_cast<double>(make_optimizer(config.optimizer)->states().size());
  return 4.0 + 8.0 + 8.0 * states + (config.precision.compute == "bf16" ? 2.0 : 0.0);
}

std::int64_t planned_bucket_bytes(const JobConfig& config, std::int64_t elements, const Ownership& who) {
  const bool messages = config.compute.backend != "cuda";  // else devices exchange, and training measures nothing
  const auto sharers = static_cast<double>(config.comm.share_memory ? 1 : config.cluster.workers);
  const LinkCost link{.latency = config.cluster.latency,
                      .piece_seconds = config.cluster.message_seconds,
                      .bytes_per_second = config.cluster.network_bandwidth / sharers};
  return bucket_bytes(config.comm, elements, messages ? who.nodes : 1, who.workers(), link);
}

StepLoad load_of(const JobConfig& config, Model& model, const Ownership& who) {
  const auto workers = static_cast<int>(who.workers());
  const BatchCut cut = cut_batch(config, workers);
  const GradientParts parts = gradient_parts(workers, static_cast<int>(who.workers_per_node), cut.shards);
  const std::int64_t shards = (cut.shards + workers - 1) / workers;
  StepLoad load;
  // A shard's last micro-batch may be smaller: the mean counts.
  const std::int64_t passes_of_shard = (cut.shard + cut.micro - 1) / cut.micro;
  load.passes = shards * passes_of_shard;
  load.shard_additions = static_cast<double>(shards - parts.parts);
  load.parts = static_cast<double>(parts.parts);
  load.subtrees = static_cast<double>(parts.subtrees);
  load.update_bytes = update_bytes(config);
  load.free_gradients = config.comm.sharding != "optimizer";
  load.gather_values = config.comm.sharding == "values";
  const double samples = static_cast<double>(cut.shard) / static_cast<double>(passes_of_shard);
  for (const OperationCost& cost : model.operation_costs()) {
    load.operations.push_back({.name = cost.name,
                               .forward_flops = samples * cost.forward_flops,
                               .forward_bytes = samples * cost.forward_bytes,
                               .backward_flops = samples * (cost.flops - cost.forward_flops),
                               .backward_bytes = samples * (cost.bytes - cost.forward_bytes),
                               .again = cost.again,
                               .values = cost.values,
                               .backward_values = cost.backward_values,
                               .ready_offset = cost.ready_offset});
  }
  return load;
}

}  // namespace ballast
