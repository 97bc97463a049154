#include "launcher/plan.h"

#include <algorithm>
#include <cmath>

#include "launcher/plan/job_cut.h"
#include "launcher/plan/planned_job.h"
#include "models/model.h"
#include "runtime/owned_runs.h"
#include "runtime/state_tensors.h"

namespace ballast {
namespace {

std::int64_t bytes_of(const ParameterTable& parameters, const JobConfig& config, int shards) {
  const StateTensors tensors(parameters, config, shards);
  std::int64_t bytes = 0;
  for (const TensorSpec& tensor : tensors.specs()) {
    bytes += tensor.shape.elements() * size_of(DType::kF32);
  }
  return bytes;
}

/// Of all tensors of a checkpoint. Every group adds the same ones, and there may be very many.
std::int64_t checkpoint_bytes(const ParameterTable& parameters, JobConfig config, int shards) {
  const int groups = groups_of(config.comm, shards);
  config.comm.groups = 1;
  const std::int64_t one = bytes_of(parameters, config, shards);
  config.comm.groups = 2;
  return one + (groups - 1) * (bytes_of(parameters, config, shards) - one);
}

double share(double bytes, std::int64_t coordinators) { return bytes / static_cast<double>(coordinators); }

/// Sums to their owners, and values from there to all others: of the busiest worker, each on a node of its own.
struct WireBytes {
  double sum = 0.0;     ///< one partial sum of everything
  double values = 0.0;  ///< everything that is published, `times`
  double times = 1.0;
  std::int64_t subtrees = 1;  ///< partial sums that a worker sends

  [[nodiscard]] double of(const Ownership& who) const {
    const std::int64_t owners = who.owners();
    if (who.workers() == 1) return 0.0;
    const auto sums = static_cast<double>(subtrees);
    const double of_owner =
        (sum - share(sum, owners)) * sums + times * share(values, owners) * static_cast<double>(who.workers() - 1);
    return std::max(of_owner, owners < who.workers() ? sum * sums : 0.0);
  }
};

double published_bytes(const ParameterTable& parameters) {
  std::int64_t bytes = 0;
  for (const Parameter& parameter : parameters.all()) bytes += parameter.size * size_of(parameter.compute);
  return static_cast<double>(bytes);
}

/// With [outer]: of an exchange of all fragments. A copy that several workers train is sent whole to each of them
/// before a fragment is exchanged, in f32, and behind it.
double exchange_bytes(const JobConfig& config, const ParameterTable& parameters, const Copies& copies,
                      const Ownership& apart) {
  const GradientCoding coding = coding_of(config.comm);
  const std::vector<Block> blocks = blocks_of(parameters);
  const auto f32 = static_cast<double>(sum_bytes(blocks, {}));
  const auto coded = static_cast<double>(sum_bytes(blocks, coding));
  const WireBytes exchange{
      .sum = coded, .values = coded, .subtrees = parts_of_exchange(config, copies, apart).subtrees};
  const WireBytes gathered{.sum = 0.0, .values = f32 + published_bytes(parameters)};
  const auto fragments = static_cast<double>(fragment_blocks(parameters, config.outer).size());
  return exchange.of(apart) + fragments * gathered.of(copies.team);
}

std::int64_t wire_bytes(const JobConfig& config, Model& model, int workers, int shards) {
  const ParameterTable& parameters = model.parameters();
  const Ownership apart{workers, 1, config.comm.coordinators};
  const bool outer = config.outer.every > 0;
  const Copies copies = lay_out_copies(config, shards, apart);
  const GradientCoding coding = outer ? GradientCoding() : coding_of(config.comm);
  const WireBytes step{.sum = static_cast<double>(sum_bytes(blocks_of(parameters), coding)),
                       .values = published_bytes(parameters),
                       .times = outer ? 1.0 : values_of_node(config, model, apart).times,
                       .subtrees = parts_of_copy(config, copies, apart).subtrees};
  double bytes = step.of(copies.team);
  if (outer) bytes += exchange_bytes(config, parameters, copies, apart) / static_cast<double>(config.outer.every);
  return std::llround(bytes);
}

}  // namespace

PlanReport make_plan(const JobConfig& config, int workers, int nodes) {
  const Ownership who = sharers(config, workers, nodes);
  const BatchCut cut = cut_batch(config, workers);
  require_possible(config, who);
  Model model = build_model(config.model, dtype_named(config.precision.compute), cut.micro);
  const ParameterTable& parameters = model.parameters();
  const JobMemory memory = count_memory(config, model, who);

  PlanReport plan;
  plan.model = config.model.name;
  plan.workers = workers;
  plan.shards = cut.shards;
  plan.micro = cut.micro;
  plan.parameters = parameters.trained_elements();
  plan.tensors = parameters.count();
  plan.flops_per_step = model.flops_per_sample() * static_cast<double>(config.batch.size);
  plan.memory = memory.worker;
  plan.values_shared = memory.values_shared;
  plan.node_memory = memory.node.total() * (workers / nodes) / who.workers_per_node;
  plan.wire_bytes = wire_bytes(config, model, workers, cut.shards);
  plan.checkpoint_bytes = checkpoint_bytes(parameters, config, cut.shards);
  plan.operations = model.summary();
  return plan;
}

}  // namespace ballast
