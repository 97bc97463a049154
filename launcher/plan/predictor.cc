#include "launcher/plan/predictor.h"

#include <algorithm>

#include "launcher/plan/job_cut.h"
#include "runtime/owned_runs.h"
#include "runtime/state_tensors.h"

namespace ballast {
namespace {

constexpr double kMebibyte = 1 << 20;

/// A part of a node with its share of what the node has.
ClusterSection part_of(ClusterSection cluster, double parts) {
  cluster.memory_bandwidth /= parts;
  cluster.network_bandwidth /= parts;
  return cluster;
}

/// Without shared memory every worker is a node of its own.
ClusterSection shared_out(const JobConfig& config) {
  return part_of(config.cluster, config.comm.share_memory ? 1.0 : static_cast<double>(config.cluster.workers));
}

}  // namespace

Ownership described(const JobConfig& config, std::int64_t nodes) {
  const std::int64_t workers = config.cluster.workers;
  if (config.comm.share_memory) return {nodes, workers, config.comm.coordinators};
  return {nodes * workers, 1, config.comm.coordinators};
}

Predictor::Predictor(const JobConfig& config)
    : config_(config),
      cluster_(shared_out(config)),
      model_(build_model(config.model, dtype_named(config.precision.compute), 1)),
      blocks_(blocks_of(model_.parameters())) {
  if (config.outer.every > 0) fragments_ = fragment_blocks(model_.parameters(), config.outer);
}

JobLoad Predictor::load(std::int64_t nodes) {
  const Ownership who = described(config_, nodes);
  require_possible(config_, who);
  JobLoad load{.step = load_of(config_, model_, who)};
  if (config_.outer.every > 0) load.outer = outer_load_of(config_, who);
  return load;
}

double Predictor::bucket_mib(std::int64_t nodes) const {
  const std::int64_t elements = model_.parameters().flat_size();
  return static_cast<double>(planned_bucket_bytes(config_, elements, described(config_, nodes))) / kMebibyte;
}

StepPrediction Predictor::predict(const JobLoad& load, std::int64_t nodes, double bucket_mib) const {
  const Ownership who = described(config_, nodes);
  const auto bytes = static_cast<std::int64_t>(bucket_mib * kMebibyte);
  if (load.outer) return predict_copies(load, who, bytes);
  return predict_step(load.step, cut_loads(blocks_, bytes, who, coding_of(config_.comm)), who, cluster_);
}

/// Teams on one node share what it has.
StepPrediction Predictor::predict_copies(const JobLoad& load, const Ownership& who, std::int64_t bucket_bytes) const {
  OuterLoad outer = *load.outer;
  outer.team.nodes = std::min(outer.team.nodes, who.nodes);
  const auto teams = static_cast<double>(who.workers_per_node) / static_cast<double>(outer.team.workers_per_node);
  const std::vector<BucketLoad> copy = cut_loads(blocks_, bucket_bytes, outer.team);
  const StepPrediction inner = predict_step(load.step, copy, outer.team, part_of(cluster_, teams));
  std::vector<std::vector<BucketLoad>> fragments;
  fragments.reserve(fragments_.size());
  for (const std::vector<Block>& blocks : fragments_) {
    fragments.push_back(cut_loads(blocks, bucket_bytes, who, coding_of(config_.comm)));
  }
  return predict_period(outer, inner, copy, fragments, who, cluster_);
}

}  // namespace ballast
