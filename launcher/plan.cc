#include "launcher/plan.h"

#include <algorithm>
#include <bit>
#include <string>

#include "comm/shards.h"
#include "compute/error.h"
#include "models/model.h"
#include "runtime/coordinator.h"
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

// Gradient buffers that the worker with most of them keeps: one per subtree of the ordered sum.
std::int64_t most_subtrees(int workers, int shards) {
  std::size_t most = 0;
  for (int rank = 0; rank < workers; ++rank) {
    most = std::max(most, held_subtrees(shards_of(rank, workers, shards), shards).size());
  }
  return static_cast<std::int64_t>(most);
}

std::int64_t bytes_of(const std::vector<TensorSpec>& tensors, TensorFile file) {
  std::int64_t bytes = 0;
  for (const TensorSpec& tensor : tensors) {
    if (tensor.file == file) bytes += tensor.shape.elements() * size_of(DType::kF32);
  }
  return bytes;
}

std::int64_t share(std::int64_t bytes, std::int64_t coordinators) { return (bytes + coordinators - 1) / coordinators; }

// Of the busiest worker, each on a node of its own. Reduce: a worker sends its partial sums of what others own.
// Publish: an owner sends new values of what it owns to all others, in bf16 where nobody needs more.
std::int64_t wire_bytes(const ParameterTable& parameters, int workers, std::int64_t coordinators,
                        std::int64_t subtrees) {
  if (workers == 1) return 0;
  std::int64_t values = 0;
  for (const Parameter& parameter : parameters.all()) values += parameter.size * size_of(parameter.compute);
  const std::int64_t gradient = parameters.flat_size() * size_of(DType::kF32);
  const std::int64_t of_owner =
      (gradient - share(gradient, coordinators)) * subtrees + share(values, coordinators) * (workers - 1);
  const std::int64_t of_others = coordinators < workers ? gradient * subtrees : 0;
  return std::max(of_owner, of_others);
}

}  // namespace

PlanReport make_plan(const JobConfig& config, int workers) {
  const int shards = shards_for(config, workers);
  const std::int64_t shard = (config.batch.size + shards - 1) / shards;
  const std::int64_t micro = config.batch.micro > 0 ? std::min(config.batch.micro, shard) : shard;
  const DType compute = dtype_named(config.precision.compute);
  const Model model = build_model(config.model, compute, micro);
  const ParameterTable& parameters = model.parameters();
  const std::vector<TensorSpec> tensors = tensors_of(parameters, *make_optimizer(config.optimizer));
  const std::int64_t weights = bytes_of(tensors, TensorFile::kWeights);
  const std::int64_t states = bytes_of(tensors, TensorFile::kOptimizer);
  const std::int64_t coordinators =
      config.comm.coordinators > 0 ? std::min<std::int64_t>(config.comm.coordinators, workers) : workers;
  const std::int64_t subtrees = most_subtrees(workers, shards);
  const std::int64_t flat = parameters.flat_size();

  PlanReport plan;
  plan.model = config.model.name;
  plan.workers = workers;
  plan.shards = shards;
  plan.micro = micro;
  plan.parameters = parameters.trained_elements();
  plan.tensors = parameters.count();
  plan.flops_per_step = model.flops_per_sample() * static_cast<double>(config.batch.size);
  plan.values = flat * (size_of(DType::kF32) + (compute == DType::kBF16 ? size_of(DType::kBF16) : 0));
  plan.values_shared = config.comm.share_memory && config.compute.backend != "cuda" && workers > 1;
  plan.gradients = flat * size_of(DType::kF32) * subtrees;
  plan.optimizer = share(states, coordinators);
  plan.activations = model.arena_bytes();
  plan.snapshot = share(weights + states, coordinators);
  plan.wire_bytes = wire_bytes(parameters, workers, coordinators, subtrees);
  plan.checkpoint_bytes = weights + states;
  plan.operations = model.summary();
  return plan;
}

}  // namespace ballast
