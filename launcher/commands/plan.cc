#include "launcher/plan.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/number_text.h"
#include "launcher/plan/drawing.h"
#include "launcher/plan/forecast_text.h"
#include "launcher/table.h"
#include "launcher/workers.h"
#include "runtime/devices.h"
#include "runtime/roof.h"
#include "runtime/threads.h"

namespace ballast {
namespace {

constexpr double kSecondsForRoof = 1.0;
constexpr std::int64_t kMostWorkers = 65536;  // as many as batch.shards may be

std::string bytes(std::int64_t count) { return bytes_text(static_cast<double>(count)); }

void print(const PlanReport& plan, bool verbose) {
  std::printf("%s with %lld worker%s, %lld shard%s, micro-batches of %lld\n\n", plan.model.c_str(),
              static_cast<long long>(plan.workers), plan.workers == 1 ? "" : "s", static_cast<long long>(plan.shards),
              plan.shards == 1 ? "" : "s", static_cast<long long>(plan.micro));
  Table table("lrl");
  table.add({"parameters", count_text(plan.parameters), "in " + count_text(plan.tensors) + " tensors"});
  table.add(
      {"arithmetic per step", short_number(plan.flops_per_step), "floating-point operations, all workers together"});
  table.add({"sent per step", bytes(plan.wire_bytes), "by the busiest worker, were each on a node of its own"});
  table.add({"checkpoint", bytes(plan.checkpoint_bytes), "weights, and all that resuming needs"});
  table.add({"", "", ""});
  table.add({"memory of a worker", bytes(plan.memory.total()), ""});
  for (const MemoryPurpose& purpose : memory_purposes()) {
    const std::int64_t count = plan.memory.*purpose.bytes;
    const bool shared = purpose.bytes == &MemoryUse::values && plan.values_shared;
    if (purpose.always || count > 0) {
      table.add({std::string("  ") + purpose.text, bytes(count),
                 shared ? "one copy for all workers of a node" : purpose.note});
    }
  }
  std::fputs(table.text().c_str(), stdout);
  if (plan.forecast) std::printf("\n%s", forecast_text(*plan.forecast).c_str());
  if (verbose) std::printf("\nOperations: name, kind, output, parameters\n\n%s", plan.operations.c_str());
}

std::int64_t workers_of(const PlanCommand& command, const ClusterSection& cluster) {
  if (cluster.nodes == 0) {
    if (!command.svg.empty() || command.tokens > 0.0) {
      throw ConfigError("--svg and --tokens need a cluster: describe one in [cluster], or set cluster.nodes=1");
    }
    return command.workers;
  }
  if (command.workers > 1)
    throw ConfigError("--workers and cluster.workers both say how many there are: leave one out");
  const std::int64_t workers = cluster.nodes * cluster.workers;
  if (workers > kMostWorkers) {
    throw ConfigError("cluster.nodes x cluster.workers = " + std::to_string(workers) + " workers: a job has at most " +
                      std::to_string(kMostWorkers));
  }
  return workers;
}

/// Fills in what the description leaves to this machine. Needs the workers of one node to measure them together; alone
/// it takes all cores, and a worker's share of what they do.
bool measure_cluster(JobConfig& config, Process& process) {
  ClusterSection& cluster = config.cluster;
  if (cluster.memory_gib == 0.0) {
    cluster.memory_gib =
        static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 30);
  }
  if (cluster.flops > 0.0 && cluster.memory_bandwidth > 0.0) return false;
  const ExitCode code = run_as_worker(process, [&](Communicator& world) {
    const int threads = threads_for_worker(world, config.compute.threads).threads;
    const WorkerBackend chosen = make_worker_backend(world, config.compute, threads);
    const Roof roof = measure_roof(*chosen.backend, world, dtype_named(config.precision.compute), kSecondsForRoof);
    const double share = static_cast<double>(world.size()) / static_cast<double>(cluster.workers);
    if (cluster.flops == 0.0) cluster.flops = roof.matmul_flops * share;
    if (cluster.memory_bandwidth == 0.0) cluster.memory_bandwidth = roof.memory_bytes * world.size();
    return ExitCode::kOk;
  });
  if (code != ExitCode::kOk) throw Error("the rates of this machine could not be measured", code);
  return true;
}

void write(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text << std::flush;
  if (!file) throw Error(path + ": cannot be written: " + std::strerror(errno), ExitCode::kIo);
}

}  // namespace

ExitCode run(const PlanCommand& command, Process& process) {
  JobConfig config = load_config(command.job, {command.overrides, process_environment()});
  const std::int64_t workers = workers_of(command, config.cluster);
  const bool described = config.cluster.nodes > 0;
  PlanReport plan =
      make_plan(config, static_cast<int>(workers), described ? static_cast<int>(config.cluster.nodes) : 1);
  if (described) {
    const bool measured = measure_cluster(config, process);
    plan.forecast = make_forecast(config, command.tokens);
    plan.forecast->rates_measured = measured;
  }
  if (!command.svg.empty()) write(command.svg, draw_forecast(*plan.forecast, plan.model));
  if (command.json) {
    std::fputs(to_json(plan).c_str(), stdout);
  } else {
    print(plan, command.verbose);
  }
  return ExitCode::kOk;
}

}  // namespace ballast
