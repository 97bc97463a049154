#include "launcher/plan/memory_use.h"

#include <algorithm>
#include <array>

#include "launcher/plan/bucket_window.h"
#include "launcher/plan/job_cut.h"
#include "launcher/plan/planned_job.h"
#include "runtime/optimizer.h"
#include "runtime/owned_runs.h"
#include "runtime/state_tensors.h"

namespace ballast {
namespace {

constexpr std::int64_t kBucketsAhead = 6;  // of comm/split/node_allreduce.cc
constexpr std::int64_t kReadAhead = 2;     // buffers of runtime/prefetcher.h
constexpr std::int64_t kElementBytes = 4;

constexpr std::array<MemoryPurpose, 12> kPurposes = {{
    {"values", "values", "", true, &MemoryUse::values},
    {"outer_values", "outer values", "what the copies are brought together into", false, &MemoryUse::outer_values},
    {"gradients", "gradients", "", true, &MemoryUse::gradients},
    {"differences", "differences", "of copies from the outer values", false, &MemoryUse::differences},
    {"optimizer", "optimizer state", "of its share of the weights", true, &MemoryUse::optimizer},
    {"outer_state", "outer state", "of its share: momentum, and for evaluation", false, &MemoryUse::outer_state},
    {"errors", "coding errors", "what codes have left out", false, &MemoryUse::errors},
    {"decoded", "decoded sums", "a slice for each group", false, &MemoryUse::decoded},
    {"activations", "activations", "", true, &MemoryUse::activations},
    {"samples", "samples", "of this micro-batch and the next", true, &MemoryUse::samples},
    {"exchange", "messages", "between nodes", false, &MemoryUse::exchange},
    {"snapshot", "checkpoint copy", "of its share, while a checkpoint is written", true, &MemoryUse::snapshot},
}};

std::int64_t share(std::int64_t bytes, std::int64_t sharers) { return (bytes + sharers - 1) / sharers; }
std::int64_t part(std::int64_t bytes, double of_all) {
  return static_cast<std::int64_t>(static_cast<double>(bytes) * of_all);
}

std::int64_t gradient_of(const ParameterTable& parameters) { return parameters.flat_size() * kElementBytes; }
std::int64_t trained_of(const ParameterTable& parameters) { return parameters.trained_elements() * kElementBytes; }

/// Of a Samples: f32 features or i32 tokens, and i32 targets.
std::int64_t sample_bytes(const InputSpec& input) {
  return (input.sample.elements() + input.targets_per_sample) * kElementBytes;
}

std::int64_t weights_of(const ParameterTable& parameters) {
  std::int64_t bytes = 0;
  for (const Parameter& parameter : parameters.all()) bytes += parameter.size * kElementBytes;
  return bytes;
}

std::int64_t states_of(const JobConfig& config, const ParameterTable& parameters) {
  return trained_of(parameters) * static_cast<std::int64_t>(make_optimizer(config.optimizer)->states().size());
}

// With comm.sharding = "gradients" or "values" the latest shard's buckets are summed and freed, also before the next
// copy's turn; sums of earlier shards wait whole. Some of the latest wait, too: the largest tensor's, which may be an
// embedding that is complete only when backward is over, and those of neighbours that are not as far.
std::int64_t gradient_bytes(const JobConfig& config, const ParameterTable& parameters, const Copies& copies,
                            const GradientParts& parts, std::int64_t bucket_bytes) {
  const std::int64_t gradient = gradient_of(parameters);
  if (config.comm.sharding == "optimizer") return gradient * parts.buffers * copies.of_worker;
  std::int64_t largest = 0;
  for (const Parameter& parameter : parameters.all()) largest = std::max(largest, parameter.size * kElementBytes);
  const std::int64_t latest = largest + bucket_bytes * kBucketsAhead;
  if (parts.buffers > 1) return gradient * (parts.buffers - 1) + std::min(gradient, latest);
  return std::min(gradient, share(gradient, copies.team.owners()) + latest);
}

/// Sums on their way to their owners: of a worker that owns a slice of every bucket and is as often the contact for
/// slices of others as its neighbours. See comm/split/sum_messages.h and comm/split/coded_sums.h.
class SumsOnTheirWay {
 public:
  SumsOnTheirWay(const std::vector<Block>& blocks, const Ownership& who, const GradientParts& parts,
                 const GradientCoding& coding)
      : who_(who), parts_(parts), coding_(coding), coded_(sum_bytes(blocks, coding)) {
    for (const Block& block : blocks) elements_ += block.end - block.begin;
  }

  /// What arrives; and what leaves, unless it does from where it is.
  [[nodiscard]] std::int64_t messages() const {
    const bool kept = coding_.active() || parts_.on_node > parts_.subtrees;
    return share(coded_, who_.owners()) * parts_.others + (kept ? part(coded_, contact()) * parts_.subtrees : 0);
  }
  [[nodiscard]] std::int64_t errors() const {
    if (!coding_.leaves_errors()) return 0;
    return (share(bytes(), who_.owners()) + part(bytes(), contact())) * parts_.subtrees;
  }
  [[nodiscard]] std::int64_t decoded(const std::vector<BucketLoad>& buckets) const {
    const std::int64_t slice = largest_slice(buckets);
    return coding_.active() ? slice * (parts_.subtrees + parts_.others + 1) + part(slice, code_share()) : 0;
  }

  /// The same of new values on their way back, see comm/split/change_exchange.h: my changes and those of others as
  /// codes; what my codes have left out; my values as last sent; a change on its way into a code and back.
  [[nodiscard]] std::int64_t changes() const {
    return coding_.active() ? share(coded_, who_.owners()) + part(coded_, contact()) : 0;
  }
  [[nodiscard]] std::int64_t change_errors() const {
    return coding_.leaves_errors() ? share(bytes(), who_.owners()) : 0;
  }
  [[nodiscard]] std::int64_t last_sent() const { return coding_.active() ? share(bytes(), who_.owners()) : 0; }
  [[nodiscard]] std::int64_t decoded_change(const std::vector<BucketLoad>& buckets) const {
    return coding_.active() ? largest_slice(buckets) : 0;
  }

 private:
  static std::int64_t largest_slice(const std::vector<BucketLoad>& buckets) {
    std::int64_t slice = 0;
    for (const BucketLoad& bucket : buckets) slice = std::max(slice, bucket.largest_slice * kElementBytes);
    return slice;
  }
  [[nodiscard]] std::int64_t bytes() const { return elements_ * kElementBytes; }
  [[nodiscard]] double code_share() const { return static_cast<double>(coded_) / static_cast<double>(bytes()); }
  /// Of all slices, those of other nodes that the worker is the contact for.
  [[nodiscard]] double contact() const { return who_.foreign_share() / static_cast<double>(who_.workers_per_node); }

  const Ownership& who_;
  const GradientParts& parts_;
  GradientCoding coding_;
  std::int64_t coded_, elements_ = 0;
};

/// Counts up what one worker has.
class Counter {
 public:
  Counter(const JobConfig& config, Model& model, const Ownership& who)
      : config_(config),
        model_(model),
        parameters_(model.parameters()),
        who_(who),
        copies_(lay_out_copies(config, cut_batch(config, static_cast<int>(who.workers())).shards, who)),
        bucket_bytes_(planned_bucket_bytes(config, parameters_.flat_size(), who)) {}

  [[nodiscard]] JobMemory count() {
    count_copies();
    if (config_.outer.every > 0) count_outer();
    if (config_.checkpoint.copy) count_snapshot();
    JobMemory memory{.worker = worker_};
    for (const MemoryPurpose& purpose : kPurposes) {
      memory.node.*purpose.bytes = worker_.*purpose.bytes * who_.workers_per_node;
    }
    memory.node.values = worker_.values / copies_.of_worker * copies_.of_node;
    memory.node.outer_values = worker_.outer_values;
    const std::int64_t others = who_.workers_per_node - copies_.leaders_on_node;
    // Who leads no group has such a buffer for sums only, and touches no more of it.
    if (worker_.differences > 0)
      memory.node.differences -= others * (worker_.differences - share(gradient(), who_.owners()));
    memory.values_shared = config_.comm.share_memory && config_.compute.backend != "cuda" && who_.workers() > 1 &&
                           (config_.outer.every == 0 || copies_.team.workers_per_node > 1);
    return memory;
  }

 private:
  [[nodiscard]] std::int64_t gradient() const { return gradient_of(parameters_); }

  void add_sums(const SumsOnTheirWay& sums, const std::vector<BucketLoad>& buckets) {
    worker_.exchange += sums.messages();
    worker_.errors += sums.errors();
    worker_.decoded += sums.decoded(buckets);
  }

  /// Of the weights, and what trains them.
  void count_copies() {
    const Ownership& team = copies_.team;
    const GradientParts parts = parts_of_copy(config_, copies_, who_);
    worker_.values = copies_.of_worker * values_of_node(config_, model_, team).bytes;
    worker_.gradients = gradient_bytes(config_, parameters_, copies_, parts, bucket_bytes_);
    worker_.optimizer = copies_.of_worker * share(states_of(config_, parameters_), team.owners());
    worker_.activations = model_.arena_bytes();
    worker_.samples = kReadAhead * model_.max_samples() * sample_bytes(model_.input());
    const GradientCoding coding = config_.outer.every > 0 ? GradientCoding() : coding_of(config_.comm);
    const std::vector<Block> blocks = blocks_of(parameters_);
    add_sums({blocks, team, parts, coding}, cut_loads(blocks, bucket_bytes_, team, coding));
  }

  /// What brings copies together: see runtime/outer_fragment.h.
  void count_outer() {
    const GradientParts parts = parts_of_exchange(config_, copies_, who_);
    const GradientCoding coding = coding_of(config_.comm);
    worker_.outer_values = gradient();
    worker_.differences = gradient() * parts.buffers;
    for (const std::vector<Block>& blocks : fragment_blocks(parameters_, config_.outer)) {
      const SumsOnTheirWay sums(blocks, who_, parts, coding);
      const std::vector<BucketLoad> buckets = cut_loads(blocks, bucket_bytes_, who_, coding);
      add_sums(sums, buckets);
      worker_.decoded += sums.decoded_change(buckets);
      worker_.exchange += sums.changes();
      worker_.errors += sums.change_errors();
      worker_.outer_state += sums.last_sent();
    }
    if (config_.outer.momentum > 0.0) worker_.outer_state += share(trained_of(parameters_), who_.owners());
    worker_.outer_state += share(gradient(), copies_.team.owners());  // lent in evaluations
  }

  void count_snapshot() {
    const std::int64_t weights = weights_of(parameters_), states = states_of(config_, parameters_);
    worker_.snapshot = worker_.errors;
    if (config_.outer.every == 0) {
      worker_.snapshot += share(weights + states, who_.owners());
      return;
    }
    const std::int64_t momentum = config_.outer.momentum > 0.0 ? trained_of(parameters_) : 0;
    worker_.snapshot +=
        share(weights + momentum, who_.owners()) + copies_.of_worker * share(weights + states, copies_.team.owners());
  }

  const JobConfig& config_;
  Model& model_;
  const ParameterTable& parameters_;
  const Ownership& who_;
  Copies copies_;
  std::int64_t bucket_bytes_;
  MemoryUse worker_;
};

}  // namespace

std::int64_t MemoryUse::total() const {
  std::int64_t bytes = 0;
  for (const MemoryPurpose& purpose : kPurposes) bytes += this->*purpose.bytes;
  return bytes;
}

std::span<const MemoryPurpose> memory_purposes() { return kPurposes; }

JobMemory count_memory(const JobConfig& config, Model& model, const Ownership& who) {
  return Counter(config, model, who).count();
}

Ownership sharers(const JobConfig& config, int workers, int nodes) {
  if (!config.comm.share_memory || config.compute.backend == "cuda") nodes = workers;
  return {nodes, workers / nodes, config.comm.coordinators};
}

ValuesOfNode values_of_node(const JobConfig& config, Model& model, const Ownership& who) {
  const std::int64_t bytes_each = 4 + (model.compute_type() == DType::kBF16 ? 2 : 0);
  if (config.comm.sharding != "values" || who.nodes == 1) return {model.parameters().flat_size() * bytes_each};
  const std::int64_t bucket_bytes = planned_bucket_bytes(config, model.parameters().flat_size(), who);
  const auto buckets = cut_loads(blocks_of(model.parameters()), bucket_bytes, who);
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

}  // namespace ballast
