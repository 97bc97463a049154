#include <unistd.h>

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "checkpoints/checkpoint.h"
#include "launcher/commands/commands.h"
#include "launcher/config.h"
#include "launcher/duration.h"
#include "launcher/launch/mpi_cluster.h"
#include "launcher/launch/supervisor.h"

namespace ballast {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? "" : value;
}

std::string output_of(const char* command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command, "r"), &pclose);
  std::string text;
  std::array<char, 4096> buffer{};
  while (pipe && fgets(buffer.data(), buffer.size(), pipe.get()) != nullptr) text += buffer.data();
  return text;
}

std::vector<Host> chosen_hosts(const LaunchCommand& command) {
  if (!command.hosts.empty()) return read_hosts(command.hosts);
  if (!variable("SLURM_JOB_NODELIST").empty()) {
    const std::string names = output_of("scontrol show hostnames");
    if (names.empty()) throw Error("launch: 'scontrol show hostnames' names no host: use --hosts", ExitCode::kUsage);
    return slurm_hosts(names, variable("SLURM_TASKS_PER_NODE"));
  }
  if (command.workers > 0) return {{"localhost", static_cast<int>(command.workers)}};
  throw Error("launch: say how many workers (-n 4) or where (--hosts node1:8,node2:8)", ExitCode::kUsage);
}

/// 0: no sound checkpoint says it.
std::int64_t shards_of_checkpoint(const std::string& folder) {
  for (const std::int64_t step : list_checkpoints(real_file_system(), folder)) {
    try {
      return Checkpoint::open(real_file_system(), folder + '/' + checkpoint_name(step)).state().shards;
    } catch (const Error&) {
      continue;  // the job itself will say what is wrong with it
    }
  }
  return 0;
}

/// The shards of the job, which no restart on other hosts may change, and what workers must be told for that.
struct Shards {
  std::int64_t count = 0;
  bool told = false;
};

Shards shards_of(const JobConfig& config, int workers) {
  if (config.batch.shards > 0) return {config.batch.shards, false};
  const std::int64_t stored = shards_of_checkpoint(config.job.dir + "/checkpoints");
  if (stored > 0) return {stored, false};
  return {static_cast<std::int64_t>(std::bit_ceil(static_cast<unsigned>(workers))), true};
}

std::string mark() {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return std::string("ballast-launch-") + host.data() + '-' + std::to_string(getpid());
}

MpiClusterOptions cluster_options(const LaunchCommand& command, const JobConfig& config, std::vector<Host> hosts,
                                  const Shards& shards) {
  std::vector<std::string> worker = {std::filesystem::read_symlink("/proc/self/exe").string(), "train", command.job};
  worker.insert(worker.end(), command.overrides.begin(), command.overrides.end());
  if (shards.told) worker.push_back("batch.shards=" + std::to_string(shards.count));
  return {.mpi = {.agent = command.agent,
                  .network = command.network,
                  .extra = command.mpirun,
                  .mark = mark(),
                  .worker = std::move(worker)},
          .hosts = std::move(hosts),
          .on_restart =
              config.job.resume == "never" ? std::vector<std::string>{"job.resume=auto"} : std::vector<std::string>{},
          .run_folder = config.job.dir,
          .probe_every = parse_duration(command.probe_every).value_or(0),
          .answer_within = parse_duration(command.answer_within).value_or(0)};
}

int print_command(const MpiOptions& options, std::vector<Host> hosts, int workers) {
  std::vector<int> slots;
  slots.reserve(hosts.size());
  for (const Host& host : hosts) slots.push_back(host.slots);
  slots = spread(slots, workers);
  for (std::size_t i = 0; i < hosts.size(); ++i) hosts[i].slots = slots[i];
  std::erase_if(hosts, [](const Host& host) { return host.slots == 0; });
  for (const std::string& word : mpirun_command(options, hosts, process_environment(), geteuid() == 0)) {
    std::printf(word.find(' ') == std::string::npos ? "%s " : "'%s' ", word.c_str());
  }
  std::printf("\n");
  return 0;
}

}  // namespace

ExitCode run(const LaunchCommand& command, Process&) {
  if (!variable("OMPI_COMM_WORLD_SIZE").empty() || !variable("PMIX_RANK").empty()) {
    throw Error("launch: this is a worker already; launch starts mpirun itself", ExitCode::kUsage);
  }
  const JobConfig config = load_config(command.job, {command.overrides, process_environment(), ConfigUse::kTrain});
  const std::vector<Host> hosts = chosen_hosts(command);
  int workers = std::accumulate(hosts.begin(), hosts.end(), 0, [](int sum, const Host& h) { return sum + h.slots; });
  if (command.workers > 0) workers = std::min(workers, static_cast<int>(command.workers));
  const Shards shards = shards_of(config, workers);
  if (workers > shards.count) {
    workers = static_cast<int>(shards.count);
    std::fprintf(stderr, "ballast: launch: %d workers, one for each shard, are started; there is room for more\n",
                 workers);
  }

  const MpiClusterOptions options = cluster_options(command, config, hosts, shards);
  if (command.dry_run) return static_cast<ExitCode>(print_command(options.mpi, hosts, workers));
  MpiCluster cluster(options);
  if (config.checkpoint.every_steps == 0 && config.checkpoint.every_seconds == 0.0) {
    cluster.say("checkpoint.every is not set: a restart loses everything since the last start");
  }
  Supervisor supervisor({.hosts = hosts,
                         .workers = workers,
                         .min_workers = static_cast<int>(command.min_workers),
                         .restarts = static_cast<int>(command.restarts),
                         .wait_for_hosts = parse_duration(command.wait_for_hosts).value_or(0),
                         .hang = parse_duration(command.hang).value_or(0)},
                        cluster);
  return static_cast<ExitCode>(supervisor.run());
}

}  // namespace ballast
