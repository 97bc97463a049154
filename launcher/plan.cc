#include "launcher/plan.h"

#include <algorithm>
#include <cmath>

#include "comm/shards.h"
#include "launcher/plan/bucket_window.h"
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

/// What a node has of the values, and how often it receives those of others in a step.
struct ValuesOfNode {
  std::int64_t bytes = 0;
  double times = 1.0;
};

// With comm.sharding = "values": of the busiest node its own, and the window that a pass reads through.
ValuesOfNode values_of_node(const JobConfig& config, Model& model, const Ownership& who) {
  const std::int64_t bytes_each = 4 + (model.compute_type() == DType::kBF16 ? 2 : 0);
  if (config.comm.sharding != "values" || who.nodes == 1) return {model.parameters().flat_size() * bytes_each};
  const auto buckets =
      cut_loads(blocks_of(model.parameters()), static_cast<std::int64_t>(config.comm.bucket_mib * (1 << 20)), who);
  const StepLoad load = load_of(config, model, who);
  BucketWindow window(buckets, load.reads());
  double fetched = 0.0, foreign = 0.0;
  for (std::size_t i = 0; i < window.reads(); ++i) {
    for (const int b : window.next()) fetched += buckets[static_cast<std::size_t>(b)].foreign_published();
  }
  std::int64_t own = 0;
  for (const BucketLoad& bucket : buckets) {
    own += bucket.owned;
    foreign += bucket.foreign_published();
  }
  const double times = foreign > 0.0 ? static_cast<double>(load.passes) * fetched / foreign : 0.0;
  return {own * bytes_each + static_cast<std::int64_t>(window.most_bytes()), times};
}

// Of the busiest worker, each on a node of its own. Reduce: a worker sends its partial sums of what others own.
// Publish: an owner sends new values of what it owns to all others, in bf16 where nobody needs more; `times`.
std::int64_t wire_bytes(const ParameterTable& parameters, int workers, std::int64_t coordinators, std::int64_t subtrees,
                        double times) {
  if (workers == 1) return 0;
  std::int64_t values = 0;
  for (const Parameter& parameter : parameters.all()) values += parameter.size * size_of(parameter.compute);
  const std::int64_t gradient = parameters.flat_size() * size_of(DType::kF32);
  const auto sent_values = static_cast<double>(share(values, coordinators) * (workers - 1));
  const std::int64_t of_owner = (gradient - share(gradient, coordinators)) * subtrees +
                                static_cast<std::int64_t>(std::llround(times * sent_values));
  const std::int64_t of_others = coordinators < workers ? gradient * subtrees : 0;
  return std::max(of_owner, of_others);
}

// With comm.sharding = "gradients" or "values" the latest shard's buckets are summed and freed; sums of earlier shards
// wait whole.
std::int64_t gradient_bytes(const JobConfig& config, std::int64_t gradient, const Ownership& who,
                            const GradientParts& parts) {
  if (config.comm.sharding == "optimizer") return gradient * parts.buffers;
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
  Model model = build_model(config.model, compute, cut.micro);
  const ParameterTable& parameters = model.parameters();
  const std::vector<TensorSpec> tensors = StateTensors(parameters, config, cut.shards).specs();
  const std::int64_t weights = bytes_of(tensors, TensorFile::kWeights);
  const std::int64_t states = bytes_of(tensors, TensorFile::kOptimizer);
  const std::int64_t gradient = parameters.flat_size() * size_of(DType::kF32);
  const GradientParts parts = gradient_parts(workers, static_cast<int>(who.workers_per_node), cut.shards);

  PlanReport plan;
  plan.model = config.model.name;
  plan.workers = workers;
  plan.shards = cut.shards;
  plan.micro = cut.micro;
  plan.parameters = parameters.trained_elements();
  plan.tensors = parameters.count();
  plan.flops_per_step = model.flops_per_sample() * static_cast<double>(config.batch.size);
  plan.values = values_of_node(config, model, who).bytes;
  plan.values_shared = config.comm.share_memory && config.compute.backend != "cuda" && workers > 1;
  plan.gradients = gradient_bytes(config, gradient, who, parts);
  plan.optimizer = share(states, who.owners());
  plan.activations = model.arena_bytes();
  plan.exchange = exchange_bytes(gradient, who, parts);
  plan.snapshot = config.checkpoint.copy ? share(weights + states, who.owners()) : 0;
  const ValuesOfNode apart = values_of_node(config, model, {workers, 1, config.comm.coordinators});
  plan.wire_bytes = wire_bytes(parameters, workers, who.owners(), most_subtrees(workers, cut.shards), apart.times);
  plan.checkpoint_bytes = weights + states;
  plan.operations = model.summary();
  return plan;
}

}  // namespace ballast
