#include "launcher/plan/forecast.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "compute/error.h"
#include "launcher/number_text.h"
#include "launcher/plan.h"
#include "launcher/plan/job_cut.h"
#include "launcher/plan/predictor.h"
#include "runtime/state_tensors.h"

namespace ballast {
namespace {

constexpr std::int64_t kMostNodes = 16384;
constexpr std::array<double, 6> kBucketSizes = {1, 4, 8, 32, 128, 512};  // MiB

Forecast::BucketChoice best_bucket(const Predictor& job, const JobLoad& load, std::int64_t nodes,
                                   std::vector<Forecast::BucketChoice>& all) {
  for (const double mib : kBucketSizes) all.push_back({mib, job.predict(load, nodes, mib).seconds});
  return *std::min_element(all.begin(), all.end(), [](auto& a, auto& b) { return a.seconds < b.seconds; });
}

PlanReport plan_of(const JobConfig& config) {
  const ClusterSection& cluster = config.cluster;
  return make_plan(config, static_cast<int>(cluster.nodes * cluster.workers), static_cast<int>(cluster.nodes));
}

Copies copies_of(const JobConfig& config) {
  const Ownership who = described(config, config.cluster.nodes);
  return lay_out_copies(config, cut_batch(config, static_cast<int>(who.workers())).shards, who);
}

/// Those that the job can choose.
std::vector<const char*> shardings_of(const JobConfig& config) {
  if (config.compute.backend == "cuda") return {"optimizer"};
  if (config.outer.every > 0 && copies_of(config).team.nodes > 1) return {"optimizer", "gradients"};
  return {"optimizer", "gradients", "values"};
}

std::vector<Forecast::Level> levels_of(JobConfig config) {
  std::vector<Forecast::Level> levels;
  for (const char* sharding : shardings_of(config)) {
    config.comm.sharding = sharding;
    const PlanReport plan = plan_of(config);
    levels.push_back({sharding, plan.memory, plan.node_memory});
  }
  return levels;
}

std::optional<double> fixed_batch_seconds(const JobConfig& config, Predictor& job, std::int64_t nodes) {
  const std::int64_t most = config.batch.shards > 0 ? config.batch.shards : config.batch.size;
  if (nodes * config.cluster.workers > most) return std::nullopt;
  try {
    return job.predict_seconds(job.load(nodes), nodes);
  } catch (const ConfigError&) {  // its groups cannot be laid out so
    return std::nullopt;
  }
}

std::vector<Forecast::Scale> scaling_of(const JobConfig& config, Predictor& job, const JobLoad& load) {
  std::vector<Forecast::Scale> scaling;
  std::optional<double> fixed_alone;
  for (std::int64_t nodes = 1; nodes <= kMostNodes; nodes *= 2) {
    Forecast::Scale scale{.nodes = nodes, .seconds = job.predict_seconds(load, nodes)};
    std::vector<Forecast::BucketChoice> choices = {{job.bucket_mib(nodes), scale.seconds}};
    scale.best_bucket = best_bucket(job, load, nodes, choices);
    const Forecast::Scale& alone = scaling.empty() ? scale : scaling.front();
    scale.efficiency = alone.seconds / scale.seconds;
    scale.best_efficiency = alone.best_bucket.seconds / scale.best_bucket.seconds;
    const std::optional<double> fixed = fixed_batch_seconds(config, job, nodes);
    if (nodes == 1) fixed_alone = fixed;
    if (fixed && fixed_alone) scale.fixed_batch_efficiency = *fixed_alone / (*fixed * static_cast<double>(nodes));
    scaling.push_back(scale);
  }
  return scaling;
}

/// A snapshot is a copy in memory, read and written once. Without one the next update waits for the disk.
double stall_seconds(const JobConfig& config, double bytes_of_node, double write_seconds, double step_seconds) {
  if (!config.checkpoint.background) return write_seconds;
  if (!config.checkpoint.copy) return std::max(0.0, write_seconds - step_seconds);
  return 2.0 * bytes_of_node / config.cluster.memory_bandwidth;
}

/// Every node writes its share.
Forecast::Saving saving_of(const JobConfig& config, double step_seconds) {
  const ClusterSection& cluster = config.cluster;
  Forecast::Saving saving{.bytes = static_cast<double>(plan_of(config).checkpoint_bytes)};
  const Ownership who = described(config, cluster.nodes);
  const auto owners = static_cast<double>(who.owners());
  const double of_node = saving.bytes * std::ceil(owners / static_cast<double>(cluster.nodes)) / owners;
  saving.write_seconds = of_node / cluster.disk_bandwidth;
  saving.stall_seconds = stall_seconds(config, of_node, saving.write_seconds, step_seconds);
  if (cluster.mtbf_hours <= 0.0) return saving;
  const double mean = 3600.0 * cluster.mtbf_hours / static_cast<double>(cluster.nodes);
  const double cost = saving.stall_seconds;
  saving.mean_seconds_between_failures = mean;
  saving.young_seconds = std::max(young_interval(cost, mean), saving.write_seconds);
  saving.daly_seconds = std::max(daly_interval(cost, mean), saving.write_seconds);
  // A failure undoes half an interval on average, and what was computed while the last checkpoint was being written.
  saving.lost_share =
      std::min(1.0, cost / saving.daly_seconds + (saving.daly_seconds / 2.0 + saving.write_seconds) / mean);
  return saving;
}

Forecast::Budget budget_of(const Forecast& forecast, double items) {
  const ClusterSection& cluster = forecast.cluster;
  Forecast::Budget budget{.items = items, .steps = std::ceil(items / forecast.items_per_step)};
  budget.seconds = budget.steps * forecast.step.seconds / (1.0 - std::min(forecast.saving.lost_share, 0.99));
  const double node_hours = budget.seconds / 3600.0 * static_cast<double>(cluster.nodes);
  budget.kilowatt_hours = node_hours * cluster.watts / 1000.0;
  budget.cost = node_hours * cluster.price;
  return budget;
}

/// Changes that need less memory.
using Change = std::pair<std::string, std::function<void(JobConfig&)>>;

/// Of what is sent, which change the results as well: codes that leave no errors, and one group for each node.
void add_changes_of_groups(const JobConfig& config, std::vector<Change>& changes) {
  const bool coded = coding_of(config.comm).active();
  if (coding_of(config.comm).leaves_errors()) {
    changes.emplace_back("comm.compression=bf16", [](JobConfig& c) { c.comm.compression = "bf16"; });
  }
  const std::int64_t nodes = described(config, config.cluster.nodes).nodes;
  if ((!coded && config.outer.every == 0) || copies_of(config).groups <= nodes) return;
  changes.emplace_back("comm.groups=" + std::to_string(nodes), [nodes](JobConfig& c) { c.comm.groups = nodes; });
}

std::vector<Change> changes_of(const JobConfig& config) {
  std::vector<Change> changes = {{"memory.recompute=attention", [](JobConfig& c) { c.model.recompute = "attention"; }},
                                 {"memory.recompute=block", [](JobConfig& c) { c.model.recompute = "block"; }},
                                 {"batch.micro=1", [](JobConfig& c) { c.batch.micro = 1; }},
                                 {"checkpoint.copy=false", [](JobConfig& c) { c.checkpoint.copy = false; }}};
  add_changes_of_groups(config, changes);
  if (shardings_of(config).size() == 1) return changes;
  changes.emplace_back("comm.sharding=gradients", [](JobConfig& c) { c.comm.sharding = "gradients"; });
  const bool one_node = config.outer.every > 0 || described(config, config.cluster.nodes).nodes == 1;
  if (one_node) return changes;  // nothing to gather
  changes.emplace_back("comm.sharding=values", [](JobConfig& c) { c.comm.sharding = "values"; });
  return changes;
}

std::int64_t memory_limit(const ClusterSection& cluster) {
  return static_cast<std::int64_t>(cluster.memory_gib * (1 << 30));
}

/// Gathers what fits.
class Search {
 public:
  explicit Search(const JobConfig& config) : config_(config), changes_(changes_of(config)) {}

  /// Subsets of the changes; of those that fit, none with a change too many.
  void try_changes() {
    std::vector<unsigned> enough;
    for (unsigned subset = 1; subset < 1U << changes_.size(); ++subset) {
      const bool more = std::any_of(enough.begin(), enough.end(), [&](unsigned e) { return (subset & e) == e; });
      if (!more && try_subset(subset)) enough.push_back(subset);
    }
  }

  /// With as much work for every worker as before.
  void try_more_nodes() {
    JobConfig tried = config_;
    while (tried.cluster.nodes < kMostNodes) {
      tried.cluster.nodes *= 2;
      tried.batch.size *= 2;
      tried.batch.shards *= 2;
      tried.comm.groups *= 2;
      const auto doubled = [](const char* key, std::int64_t number) {
        return number > 0 ? key + std::to_string(number) : std::string();
      };
      if (consider(tried, doubled("cluster.nodes=", tried.cluster.nodes) + doubled(" batch.size=", tried.batch.size) +
                              doubled(" batch.shards=", tried.batch.shards) +
                              doubled(" comm.groups=", tried.comm.groups))) {
        return;
      }
    }
  }

  /// Fastest first.
  [[nodiscard]] std::vector<Forecast::Remedy> finish() {
    std::stable_sort(remedies_.begin(), remedies_.end(), [](auto& a, auto& b) { return a.seconds < b.seconds; });
    return std::move(remedies_);
  }

 private:
  bool try_subset(unsigned subset) {
    JobConfig tried = config_;
    std::string text;
    for (std::size_t i = 0; i < changes_.size(); ++i) {
      if ((subset >> i & 1U) == 0) continue;
      changes_[i].second(tried);
      text += (text.empty() ? "" : " ") + changes_[i].first;
    }
    return consider(tried, text);
  }

  bool consider(const JobConfig& tried, const std::string& change) try {
    const std::int64_t memory = plan_of(tried).node_memory;
    if (memory > memory_limit(tried.cluster)) return false;
    Predictor job(tried);
    const std::int64_t nodes = tried.cluster.nodes;
    remedies_.push_back({change, memory, job.predict_seconds(job.load(nodes), nodes)});
    return true;
  } catch (const ConfigError&) {  // training would refuse it
    return false;
  }

  const JobConfig& config_;
  std::vector<Change> changes_;
  std::vector<Forecast::Remedy> remedies_;
};

std::vector<Forecast::Remedy> remedies_of(const JobConfig& config) {
  Search search(config);
  search.try_changes();
  search.try_more_nodes();
  return search.finish();
}

}  // namespace

double young_interval(double cost, double mean) { return std::sqrt(2.0 * cost * mean); }

double daly_interval(double cost, double mean) {
  if (cost >= 2.0 * mean) return mean;
  const double x = cost / (2.0 * mean);
  return young_interval(cost, mean) * (1.0 + std::sqrt(x) / 3.0 + x / 9.0) - cost;
}

bool Forecast::fits() const { return node_memory <= memory_limit(cluster); }

Forecast make_forecast(const JobConfig& config, double items) {
  const std::int64_t nodes = config.cluster.nodes;
  Predictor job(config);
  const JobLoad load = job.load(nodes);
  Forecast forecast{.cluster = config.cluster, .step = job.predict(load, nodes, job.bucket_mib(nodes))};
  const bool tokens = job.input().kind == InputSpec::Kind::kTokens;
  forecast.item = tokens ? "tokens" : "samples";
  forecast.items_per_step = static_cast<double>(config.batch.size * (tokens ? job.input().targets_per_sample : 1));
  forecast.levels = levels_of(config);
  forecast.bucket_is_automatic = config.comm.bucket_mib == 0.0;
  forecast.buckets = {{job.bucket_mib(nodes), forecast.step.seconds}};
  forecast.best_bucket = best_bucket(job, load, nodes, forecast.buckets);
  forecast.scaling = scaling_of(config, job, load);
  forecast.saving = saving_of(config, forecast.step.seconds);
  if (items > 0.0) forecast.budget = budget_of(forecast, items);
  forecast.node_memory = plan_of(config).node_memory;
  if (!forecast.fits()) forecast.remedies = remedies_of(config);
  return forecast;
}

}  // namespace ballast
