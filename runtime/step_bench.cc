#include "runtime/step_bench.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <numeric>
#include <string>

#include "comm/shards.h"
#include "runtime/devices.h"
#include "runtime/optimizer.h"
#include "runtime/supervision.h"
#include "runtime/threads.h"
#include "runtime/timing.h"
#include "runtime/training_parts.h"

namespace ballast {
namespace {

constexpr int kWarmSteps = 2;  ///< make kernels and touch memory

struct MeasuredStep {
  double seconds = 0.0;
  PhaseSeconds phases{};
  std::vector<OperationCost> operations;
};

/// Bytes behind `key` in a file of /proc; 0 where there is none.
double proc_bytes(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    double kibibytes = 0.0;
    if (word == key && file >> kibibytes) return 1024.0 * kibibytes;
  }
  return 0.0;
}

double sum(const std::vector<double>& numbers) { return std::accumulate(numbers.begin(), numbers.end(), 0.0); }

/// Per weight: every partial sum is read once and zeroed once; value and optimizer states are read and written, the
/// bf16 copy is written. The norm and the update read the sum from the cache at best.
double update_bytes_of(const JobConfig& config, const JobLayout& layout, const TrainingParts& parts, int workers) {
  std::size_t partial_sums = 0;
  for (int rank = 0; rank < workers; ++rank) {
    partial_sums += held_subtrees(shards_of(rank, workers, layout.shards), layout.shards).size();
  }
  const auto states = static_cast<double>(make_optimizer(config.optimizer)->states().size());
  double bytes = 0.0;
  for (const Parameter& parameter : parts.model.parameters().all()) {
    const double copy = parameter.compute == DType::kBF16 ? 2.0 : 0.0;
    bytes +=
        static_cast<double>(parameter.size) * (8.0 * static_cast<double>(partial_sums) + 8.0 + 8.0 * states + copy);
  }
  return bytes;
}

class StepBench {
 public:
  StepBench(const JobConfig& config, Communicator& world)
      : supervision_(world, {.timeout_seconds = config.watch.timeout, .collectives = config.watch.collectives}),
        world_(supervision_.world()),
        layout_(
            layout_of(config, std::nullopt, world.size(), threads_for_worker(world_, config.compute.threads).threads)),
        parts_(config, layout_, world_, make_worker_backend(world_, config.compute, layout_.threads).backend),
        totals_(layout_.shards) {
    parts_.initialise(static_cast<std::uint64_t>(config.job.seed));
    parts_.clock.record_in(supervision_.recorder());
  }

  std::vector<MeasuredStep> run(double seconds) {
    for (int i = 0; i < kWarmSteps; ++i) static_cast<void>(step());
    // The slowest worker's opinion, so that all take the same number.
    std::int64_t count = std::clamp<std::int64_t>(static_cast<std::int64_t>(seconds / step().seconds), 3, 10'000);
    world_.all_reduce(std::span(&count, 1), Reduction::kMin);
    world_.barrier();  // begin together
    std::vector<MeasuredStep> steps;
    for (std::int64_t i = 0; i < count; ++i) steps.push_back(step());
    return steps;
  }

  [[nodiscard]] const JobLayout& layout() const { return layout_; }
  [[nodiscard]] TrainingParts& parts() { return parts_; }

 private:
  MeasuredStep step() {
    static_cast<void>(parts_.clock.take());
    static_cast<void>(parts_.model.operation_costs());
    const BatchPlan& plan = parts_.plan;
    while (plan.batch_size(next_) < plan.batch_size(0)) ++next_;  // an epoch's last batch may be short
    const Clock clock;
    totals_.clear();
    for (const auto& replica : parts_.replicas) {
      replica->worker.compute_gradients(next_, totals_);
      static_cast<void>(replica->coordinator.update(next_ + 1, totals_, 0, false));
    }
    ++next_;
    if (parts_.outer) parts_.outer->step(next_, /*last=*/false);
    return {clock.seconds(), parts_.clock.take(), parts_.model.operation_costs()};
  }

  Supervision supervision_;
  Communicator& world_;
  JobLayout layout_;
  TrainingParts parts_;
  StepTotals totals_;
  std::int64_t next_ = 0;
};

/// Of each step, on the worker that took longest for all. No barrier ends a step: its messages would stand in line
/// behind values on their way, which training goes on beside.
std::vector<double> seconds_of_slowest(Communicator& world, const std::vector<MeasuredStep>& steps) {
  std::vector<double> seconds;
  seconds.reserve(steps.size());
  for (const MeasuredStep& step : steps) seconds.push_back(step.seconds);
  const std::vector<double> all = gather_numbers(world, sum(seconds));
  const auto slowest = static_cast<int>(std::ranges::max_element(all) - all.begin());
  world.broadcast(std::as_writable_bytes(std::span(seconds)), slowest);
  return seconds;
}

/// The same steps on every worker.
std::vector<MeasuredStep> quieter_half(const std::vector<MeasuredStep>& steps, const std::vector<double>& seconds,
                                       double median) {
  std::vector<MeasuredStep> half;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (seconds[i] <= median) half.push_back(steps[i]);
  }
  return half;
}

void add_means(Communicator& world, const std::vector<MeasuredStep>& steps, double samples, StepBenchReport& report) {
  const auto mean = [&](const auto& seconds_of) {
    double mine = 0.0;
    for (const MeasuredStep& step : steps) mine += seconds_of(step);
    return sum(gather_numbers(world, mine)) / static_cast<double>(steps.size()) / static_cast<double>(world.size());
  };
  for (std::size_t p = 0; p < report.phases.size(); ++p) {
    report.phases[p] = mean([p](const MeasuredStep& step) { return step.phases[p]; });
  }
  report.operations = steps.front().operations;
  for (std::size_t i = 0; i < report.operations.size(); ++i) {
    OperationCost& cost = report.operations[i];
    cost.forward_seconds = mean([i](const MeasuredStep& step) { return step.operations[i].forward_seconds; });
    cost.backward_seconds = mean([i](const MeasuredStep& step) { return step.operations[i].backward_seconds; });
    cost.flops *= samples / static_cast<double>(world.size());
    cost.bytes *= samples / static_cast<double>(world.size());
    report.flops += cost.flops * static_cast<double>(world.size());
    report.activation_bytes += cost.bytes * static_cast<double>(world.size());
  }
}

void add_memory(Communicator& world, StepBenchReport& report) {
  report.peak_bytes = gather_numbers(world, proc_bytes("/proc/self/status", "VmHWM:"));
  world.barrier();
  const auto node = world.split_by_node();
  report.node_bytes = sum(gather_numbers(*node, proc_bytes("/proc/self/smaps_rollup", "Pss:")));
}

}  // namespace

double StepBenchReport::roof_step_seconds() const {
  const double bytes = roof.memory_bytes > 0.0 ? (activation_bytes + update_bytes) / roof.memory_bytes : 0.0;
  return (flops / roof.matmul_flops + bytes) / static_cast<double>(workers);
}

StepBenchReport bench_step(const JobConfig& config, Communicator& world, const StepBenchOptions& options) {
  StepBench bench(config, world);
  StepBenchReport report;
  report.workers = world.size();
  report.threads = bench.layout().threads;
  report.bucket_bytes = bench.parts().buckets.bytes;
  const InputSpec& input = bench.parts().model.input();
  const bool tokens = input.kind == InputSpec::Kind::kTokens;
  report.item = tokens ? "tokens" : "samples";
  report.samples = static_cast<double>(config.batch.size);
  report.items = report.samples * (tokens ? static_cast<double>(input.targets_per_sample) : 1.0);

  const std::vector<MeasuredStep> steps = bench.run(options.seconds);
  const std::vector<double> seconds = seconds_of_slowest(world, steps);
  std::vector<double> sorted = seconds;
  std::ranges::sort(sorted);
  report.steps = static_cast<std::int64_t>(steps.size());
  report.mean_seconds = sum(seconds) / static_cast<double>(steps.size());
  report.median_seconds = sorted[sorted.size() / 2];
  report.least_seconds = sorted.front();
  report.most_seconds = sorted.back();
  add_means(world, quieter_half(steps, seconds, report.median_seconds), report.samples, report);
  add_memory(world, report);
  report.update_bytes = update_bytes_of(config, bench.layout(), bench.parts(), world.size());
  report.roof = measure_roof(*bench.parts().backend, world, bench.parts().model.compute_type(), options.roof_seconds);
  return report;
}

}  // namespace ballast
