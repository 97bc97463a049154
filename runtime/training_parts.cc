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

/// Without [outer] all shards are one group.
GroupLayout groups_of(const JobConfig& config, int shards, const Communicator& world) {
  if (config.outer.every == 0) return lay_out_groups(world.rank(), world.size(), 1, shards);
  const int groups = groups_of(config.comm, shards);
  if (shards % groups != 0) {
    throw ConfigError("comm.groups = " + std::to_string(groups) + " does not divide batch.shards = " +
                      std::to_string(shards) + ": with [outer] groups have equally many shards");
  }
  return lay_out_groups(world.rank(), world.size(), groups, shards);
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
      buckets(choose_buckets(config.comm, model.parameters().flat_size(), *backend, world)),
      groups(groups_of(config, layout.shards, world)),
      team(config.outer.every > 0 ? world.split(groups.team) : nullptr) {
  model.allocate(*backend, seed_of(config));
  const ReplicaParts parts{config, *backend, model, *data.train, plan, layout.micro, total_steps, buckets.bytes, clock};
  for (int group = groups.mine.begin; group < groups.mine.end; ++group) {
    const ShardRange shards{groups.first_shard(group), groups.first_shard(group + 1)};
    replicas.push_back(team == nullptr ? std::make_unique<Replica>(parts, world, shards, TensorNames{})
                                       : std::make_unique<Replica>(parts, *team, shards, names_of_group(group)));
  }
  if (team != nullptr) {
    outer =
        std::make_unique<OuterTraining>(model.parameters(), config, groups, buckets.bytes, replicas, world, *backend);
  }
}

void TrainingParts::initialise(std::uint64_t seed) {
  for (const auto& replica : replicas) replica->coordinator.initialise(seed);
  if (outer) outer->initialise(seed);
}

std::vector<TensorPiece> TrainingParts::pieces() const {
  std::vector<NamedPiece> pieces;
  for (const auto& replica : replicas) {
    const std::vector<NamedPiece> some = replica->coordinator.pieces();
    pieces.insert(pieces.end(), some.begin(), some.end());
  }
  if (outer) {
    const std::vector<NamedPiece> some = outer->pieces();
    pieces.insert(pieces.end(), some.begin(), some.end());
  }
  return tensors.numbered(pieces);
}

std::string TrainingParts::load(const Checkpoint& checkpoint, Communicator& world) {
  require_same_tensors(checkpoint, tensors.specs());
  std::string damage = read_together(checkpoint, pieces(), *backend, world);
  if (!damage.empty()) return damage;
  for (const auto& replica : replicas) replica->coordinator.loaded();
  if (outer) outer->loaded(checkpoint.state());
  return {};
}

}  // namespace ballast
