#include "launcher/plan.h"

#include <algorithm>

#include "comm/shards.h"
#include "launcher/plan/planned_job.h"
#include "models/model.h"
#include "runtime/coordinator.h"
#include "runtime/optimizer.h"

namespace ballast {
namespace {

constexpr std::int64_t kBucketsAhead = 16;  // of comm/split/node_allreduce.cc

// Partial sums that the worker with most of them sends, each alone on a node: one per subtree of the ordered sum.
std::int64_t most_subtrees(int workers, int shards) { return gradient_parts(workers, 1, shards).subtrees; }

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

// With comm.sharding = "gradients" the latest shard's buckets are summed and freed; sums of earlier shards wait whole.
std::int64_t gradient_bytes(const JobConfig& config, std::int64_t gradient, const Ownership& who,
                            const GradientParts& parts) {
  if (config.comm.sharding != "gradients") return gradient * parts.buffers;
  const std::int64_t ahead = planned_bucket_bytes(config, gradient / size_of(DType::kF32), who) * kBucketsAhead;
  return std::min(gradient, share(gradient, who.owners()) + ahead) + gradient * (parts.buffers - 1);
}

// A worker receives what other nodes hold of its slices, and adds up what its neighbours hold before that leaves.
std::int64_t exchange_bytes(std::int64_t gradient, const Ownership& who, const GradientParts& parts) {
  if (who.nodes == 1) return 0;
  const std::int64_t incoming = share(gradient, who.owners()) * (who.nodes - 1) * parts.subtrees;
  const bool added = who.workers_per_node * parts.parts > parts.subtrees;
  return incoming + (added ? share(gradient * (who.nodes - 1) / who.nodes, who.workers_per_node) * parts.subtrees : 0);
}

}  // namespace

PlanReport make_plan(const JobConfig& config, int workers, int nodes) {
  if (!config.comm.share_memory) nodes = workers;
  const Ownership who{nodes, workers / nodes, config.comm.coordinators};
  const BatchCut cut = cut_batch(config, workers);
  const DType compute = dtype_named(config.precision.compute);
  const Model model = build_model(config.model, compute, cut.micro);
  const ParameterTable& parameters = model.parameters();
  const std::vector<TensorSpec> tensors = StateTensors(parameters, config, cut.shards).specs();
  const std::int64_t weights = bytes_of(tensors, TensorFile::kWeights);
  const std::int64_t states = bytes_of(tensors, TensorFile::kOptimizer);
  const std::int64_t flat = parameters.flat_size(), gradient = flat * size_of(DType::kF32);
  const GradientParts parts = gradient_parts(workers, static_cast<int>(who.workers_per_node), cut.shards);

  PlanReport plan;
  plan.model = config.model.name;
  plan.workers = workers;
  plan.shards = cut.shards;
  plan.micro = cut.micro;
  plan.parameters = parameters.trained_elements();
  plan.tensors = parameters.count();
  plan.flops_per_step = model.flops_per_sample() * static_cast<double>(config.batch.size);
  plan.values = gradient + (compute == DType::kBF16 ? flat * size_of(DType::kBF16) : 0);
  plan.values_shared = config.comm.share_memory && config.compute.backend != "cuda" && workers > 1;
  plan.gradients = gradient_bytes(config, gradient, who, parts);
  plan.optimizer = share(states, who.owners());
  plan.activations = model.arena_bytes();
  plan.exchange = exchange_bytes(gradient, who, parts);
  plan.snapshot = config.checkpoint.copy ? share(weights + states, who.owners()) : 0;
  plan.wire_bytes = wire_bytes(parameters, workers, who.owners(), most_subtrees(workers, cut.shards));
  plan.checkpoint_bytes = weights + states;
  plan.operations = model.summary();
  return plan;
}

}  // namespace ballast
