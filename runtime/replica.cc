#include "runtime/replica.h"

#include <utility>

namespace ballast {
namespace {

DType compute_type(const JobConfig& config) { return dtype_named(config.precision.compute); }

Sharding sharding_of(const CommSection& comm) {
  if (comm.sharding == "values") return Sharding::kValues;
  return comm.sharding == "gradients" ? Sharding::kGradients : Sharding::kOptimizer;
}

SplitAllReduceOptions reduction_options(const JobConfig& config, int shards, std::int64_t bucket_bytes) {
  SplitAllReduceOptions options{.shards = shards,
                                .coordinators = static_cast<int>(config.comm.coordinators),
                                .bucket_bytes = bucket_bytes,
                                .share_memory = config.comm.share_memory,
                                .sharding = sharding_of(config.comm),
                                .plugins = config.compute.plugins,
                                .native = config.comm.reduction == "native",
                                .timeout_seconds = config.watch.timeout};
  options.gathers = config.outer.every > 0;
  if (config.outer.every > 0) return options;  // what travels between replicas is coded, not what makes one up
  options.groups = static_cast<int>(config.comm.groups);
  options.coding = coding_of(config.comm);
  return options;
}

}  // namespace

Replica::Replica(const ReplicaParts& parts, Communicator& workers, ShardRange shards_of_step, TensorNames tensors)
    : shards(shards_of_step),
      team(workers),
      reduction(make_split_allreduce(team, parts.backend, parts.model.parameters().flat_size(),
                                     blocks_of(parts.model.parameters()), compute_type(parts.config) == DType::kBF16,
                                     reduction_options(parts.config, shards.end - shards.begin, parts.bucket_bytes))),
      worker(parts.model, *reduction, shards, parts.data, parts.plan, parts.micro, parts.clock, parts.backend),
      coordinator(parts.model.parameters(), *reduction, parts.backend, team, parts.config, parts.total_steps,
                  parts.clock, std::move(tensors)),
      copies(parts.model.parameters(), *reduction, parts.backend, team,
             parts.config.comm.share_memory && parts.backend.host_addressable()) {}

ParameterMemory Replica::values() const {
  return {.values = reduction->values(),
          .compute_values = reduction->compute_values(),
          .gradients = {},
          .use_values = [this](std::span<const ElementRange> now, std::span<const ElementRange> next) {
            reduction->use_values(now, next);
          }};
}

}  // namespace ballast
