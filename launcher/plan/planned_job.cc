#include "launcher/plan/planned_job.h"

#include <algorithm>

#include "launcher/plan/job_cut.h"
#include "runtime/bucket_choice.h"
#include "runtime/fragment_borders.h"
#include "runtime/optimizer.h"
#include "runtime/owned_runs.h"
#include "runtime/state_tensors.h"

namespace ballast {
namespace {

bool bf16(const JobConfig& config) { return config.precision.compute == "bf16"; }

}  // namespace

double update_bytes(const JobConfig& config) {
  const auto states = static_cast<double>(make_optimizer(config.optimizer)->states().size());
  return 4.0 + 8.0 + 8.0 * states + (bf16(config) ? 2.0 : 0.0);
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
  const BatchCut cut = cut_batch(config, static_cast<int>(who.workers()));
  const Copies copies = lay_out_copies(config, cut.shards, who);
  const GradientParts parts = parts_of_copy(config, copies, who);
  const std::int64_t shards = (copies.shards + copies.smallest_team - 1) / copies.smallest_team;
  const GradientCoding coding = config.outer.every > 0 ? GradientCoding() : coding_of(config.comm);
  StepLoad load;
  // A shard's last micro-batch may be smaller: the mean counts.
  const std::int64_t passes_of_shard = (cut.shard + cut.micro - 1) / cut.micro;
  load.passes = shards * passes_of_shard;
  load.shard_additions = static_cast<double>(shards - parts.parts);
  load.parts = static_cast<double>(parts.parts);
  load.subtrees = static_cast<double>(parts.subtrees);
  load.coded = coding.active();
  load.coding_errors = coding.leaves_errors();
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

OuterLoad outer_load_of(const JobConfig& config, const Ownership& who) {
  const BatchCut cut = cut_batch(config, static_cast<int>(who.workers()));
  const Copies copies = lay_out_copies(config, cut.shards, who);
  const GradientParts parts = parts_of_exchange(config, copies, who);
  const GradientCoding coding = coding_of(config.comm);
  const auto nodes = static_cast<double>(copies.team.nodes);
  OuterLoad load{.every = config.outer.every, .delay = config.outer.delay, .team = copies.team, .sums = {}};
  load.of_worker = static_cast<double>(copies.of_worker);
  load.of_node = static_cast<double>(copies.of_node) / nodes;
  load.led = static_cast<double>(copies.led_on_node);
  load.sums = {static_cast<double>(parts.on_node), static_cast<double>(parts.subtrees), coding.active(),
               coding.leaves_errors()};
  load.update_bytes = config.outer.momentum > 0.0 ? 20.0 : 12.0;
  load.take_over_bytes = config.outer.merge < 1.0 ? 32.0 : 8.0;
  load.refresh_bytes = bf16(config) ? 6.0 : 0.0;
  return load;
}

std::vector<std::vector<Block>> fragment_blocks(const ParameterTable& parameters, const OuterSection& outer) {
  const std::vector<int> borders = fragment_borders(parameters, outer.fragments);
  std::vector<std::vector<Block>> fragments(borders.size() - 1);
  std::size_t fragment = 0;
  for (Block block : blocks_of(parameters)) {
    while (fragment + 2 < borders.size() && block.begin >= parameters[borders[fragment + 1]].offset) ++fragment;
    const std::int64_t begin = parameters[borders[fragment]].offset;
    block.begin -= begin;
    block.end -= begin;
    block.publish = DType::kF32;
    fragments[fragment].push_back(block);
  }
  return fragments;
}

}  // namespace ballast
