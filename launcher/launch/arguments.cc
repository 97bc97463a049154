#include "launcher/launch/arguments.h"

#include "launcher/duration.h"

namespace ballast {
namespace {

CLI::Validator duration() {
  const auto check = [](const std::string& text) -> std::string {
    if (parse_duration(text)) return "";
    return '"' + text + "\" is not a time such as 90s, 10min or 1.5h";
  };
  return {check, "", ""};
}

void add_place(CLI::App& launch, LaunchCommand& to) {
  launch.add_option("-n,--workers", to.workers, "Workers, at most; no more than the job has shards")
      ->type_name("N")
      ->check(CLI::Range(1, 65536).description(""));
  launch.add_option("--hosts", to.hosts, "Where: host:workers,... or a host file (default: Slurm's, or this machine)")
      ->type_name("LIST|FILE");
  launch.add_option("--agent", to.agent, "Runs a command on a host: CMD HOST COMMAND (default ssh)")->type_name("CMD");
  launch.add_option("--network", to.network, "What workers talk over: eth0 or 10.0.0.0/24 (default any)")
      ->type_name("NAME");
  launch.add_option("--mpirun", to.mpirun, "Further arguments of mpirun, in quotes")->type_name("ARGS");
  launch.add_flag("--dry-run", to.dry_run, "Only print the mpirun command");
}

void add_patience(CLI::App& launch, LaunchCommand& to) {
  launch.add_option("--restarts", to.restarts, "In a row without a new checkpoint, before giving up (default 5)")
      ->type_name("N")
      ->check(CLI::Range(0, 1000000).description(""));
  launch.add_option("--min-workers", to.min_workers, "With room for fewer, stop with exit code 75 (default 1)")
      ->type_name("N")
      ->check(CLI::Range(1, 65536).description(""));
  const auto add_time = [&](const char* name, std::string& value, const char* text) {
    launch.add_option(name, value, text)->type_name("T")->check(duration());
  };
  add_time("--wait-for-hosts", to.wait_for_hosts, "For lost hosts, before going on without them (default 0s)");
  add_time("--hang", to.hang, "Without a change in the run folder: start again (default 30min)");
  add_time("--probe-every", to.probe_every, "Whether hosts are there, and lost ones back (default 10s)");
  add_time("--answer-within", to.answer_within, "Or a host counts as lost (default 3s)");
}

}  // namespace

void add_launch(CLI::App& app, LaunchCommand& to) {
  CLI::App* launch = app.add_subcommand("launch", "Train on many hosts, and go on when workers or hosts die");
  launch->add_option("JOB", to.job, "Job file (TOML)")->required()->type_name("");
  launch->add_option("SETTINGS", to.overrides, "section.key=value settings that win over the file's")->type_name("");
  add_place(*launch, to);
  add_patience(*launch, to);
  launch->footer(
      "Examples:\n"
      "  ballast launch -n 4 job.toml\n"
      "  ballast launch --hosts node1:8,node2:8 job.toml optimizer.lr=3e-4\n"
      "  ballast launch --hosts hostfile --network 10.0.0.0/24 --wait-for-hosts 2min job.toml\n\n"
      "Starts mpirun, and starts it again from the last checkpoint on the hosts that are left when anything dies; "
      "grows\n"
      "when hosts are back. SIGUSR1, SIGUSR2, SIGTERM and SIGINT save a checkpoint and stop with exit code 75; a "
      "second\n"
      "SIGTERM or SIGINT stops at once. docs/launching.md says more.");
}

}  // namespace ballast
