#include "runtime/training_parts.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace ballast {
namespace {

DType compute_type(const JobConfig& config) { return dtype_named(config.precision.compute); }

std::uint64_t seed_of(const JobConfig& config) { return static_cast<std::uint64_t>(config.job.seed); }

// More steps have no names for their checkpoints, and more samples no count.
void require_countable(double steps, std::int64_t batch) {
  if (steps <= static_cast<double>(kMaxStep) && steps * static_cast<double>(batch) < 0x1p62) return;
  throw ConfigError("job.steps and job.epochs ask for more than " + std::to_string(kMaxStep) + " steps of " +
                    std::to_string(batch) + " samples, or for more than 2^62 samples: ask for less");
}

std::int64_t total_steps_of(const JobConfig& config, const BatchPlan& plan) {
  const double steps = config.job.steps > 0 ? static_cast<double>(config.job.steps)
                                            : config.job.epochs * static_cast<double>(plan.steps_per_epoch());
  require_countable(steps, config.batch.size);
  return config.job.steps > 0 ? config.job.steps : std::max<std::int64_t>(1, std::llround(steps));
}

Sharding sharding_of(const JobConfig& config) {
  if (config.comm.sharding == "values") return Sharding::kValues;
  return config.comm.sharding == "gradients" ? Sharding::kGradients : Sharding::kOptimizer;
}

SplitAllReduceOptions reduction_options(const JobConfig& config, int shards) {
  return {.shards = shards,
          .groups = static_cast<int>(config.comm.groups),
          .coding = coding_of(config.comm),
          .coordinators = static_cast<int>(config.comm.coordinators),
          .bucket_bytes = static_cast<std::int64_t>(config.comm.bucket_mib * (1 << 20)),
          .share_memory = config.comm.share_memory,
          .sharding = sharding_of(config),
          .plugins = config.compute.plugins,
          .native = config.comm.reduction == "native",
          .timeout_seconds = config.watch.timeout};
}

}  // namespace

JobLayout layout_of(const JobConfig& config, std::optional<int> resumed_shards, int workers, int threads) {
  JobLayout layout{.threads = threads};
  const auto rounded_up = static_cast<int>(std::bit_ceil(static_cast<unsigned>(workers)));
  layout.shards = config.batch.shards > 0 ? static_cast<int>(config.batch.shards) : resumed_shards.value_or(rounded_up);
  const std::int64_t shard = (config.batch.size + layout.shards - 1) / layout.shards;
  layout.micro = config.batch.micro > 0 ? std::min(config.batch.micro, shard) : shard;
  return layout;
}

TrainingParts::TrainingParts(const JobConfig& config, const JobLayout& layout, Communicator& world,
                             std::unique_ptr<Backend> backend_of_worker)
    : backend(std::move(backend_of_worker)),
      model(build_model(config.model, compute_type(config), layout.micro)),
      data(open_datasets(config.data, model.input(), seed_of(config))),
      plan(data.train->size(), config.batch.size, layout.shards, {config.data.shuffle, config.data.chunk},
           seed_of(config), config.data.train),
      total_steps(total_steps_of(config, plan)),
      tensors(model.parameters(), config, layout.shards),
      reduction(make_split_allreduce(world, *backend, model.parameters().flat_size(), blocks_of(model.parameters()),
                                     compute_type(config) == DType::kBF16, reduction_options(config, layout.shards))),
      worker(model, *reduction, *data.train, plan, layout.micro, clock, *backend),
      coordinator(model.parameters(), *reduction, *backend, world, config, total_steps, clock) {
  model.allocate(*backend, seed_of(config));
}

void TrainingParts::load(const Checkpoint& checkpoint) {
  require_same_tensors(checkpoint, tensors.specs());
  checkpoint.read(pieces(), *backend);
  coordinator.loaded();
}

}  // namespace ballast
