// Defines: the commands of the program as plain options, Command, and run() for each.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "compute/error.h"

namespace ballast {

struct TrainCommand {
  std::string job;
  std::vector<std::string> overrides;  ///< section.key=value
};
struct EvalCommand {
  std::string path;
  std::vector<std::string> overrides;
  bool json = false;
};
struct GenerateCommand {
  std::string path;
  std::vector<std::string> overrides;
  std::string prompt = "\n";
  std::int64_t tokens = 200;
  double temperature = 1.0;
  std::int64_t top_k = 0;
  std::int64_t seed = 1;
};
struct InspectCommand {
  std::string path;
  std::string tensor = "*";  ///< glob
  bool optimizer = false, state = false, json = false;
};
struct VerifyCommand {
  std::string path;
  bool json = false;
};
struct PlanCommand {
  std::string job;
  std::vector<std::string> overrides;
  std::int64_t workers = 1;
  double tokens = 0.0;  ///< to train on; 0: no budget
  std::string svg;      ///< path of a drawing; "": none
  bool verbose = false, json = false;
};
struct ConfigCommand {
  std::string job;  ///< "": defaults
  std::vector<std::string> overrides;
  bool defaults = false, markdown = false;
};
struct BenchCommand {
  std::string bench;  ///< a name of launcher/bench/bench.h
  std::string job;
  std::vector<std::string> overrides;
  std::string shapes, sizes;       ///< as written; "": the benchmark's own
  std::string precision = "both";  ///< "f32" | "bf16" | "both"
  double seconds = 10.0;           ///< about, in all
  std::int64_t threads = 0;        ///< of a worker; 0: its share of the node's cores
  std::string backend;             ///< "auto" | "cpu" | "cuda"; "": as the job or a variable says
  bool json = false;
};
struct DoctorCommand {
  std::vector<std::string> overrides;
  bool json = false;
};
struct LaunchCommand {
  std::string job;
  std::vector<std::string> overrides;
  std::int64_t workers = 0;  ///< at most; 0: what the hosts have room for
  std::string hosts;         ///< list or file; "": those of Slurm, or this machine
  std::string agent = "ssh -o BatchMode=yes -o ConnectTimeout=5";
  std::string network;  ///< "": any
  std::string mpirun;   ///< further arguments
  std::int64_t restarts = 5, min_workers = 1;
  std::string wait_for_hosts = "0s", hang = "30min", probe_every = "10s", answer_within = "3s";  ///< durations
  bool dry_run = false;
};
/// A help or version text.
struct TextCommand {
  std::string text;
};

using Command = std::variant<TrainCommand, EvalCommand, GenerateCommand, InspectCommand, VerifyCommand, PlanCommand,
                             ConfigCommand, BenchCommand, DoctorCommand, LaunchCommand, TextCommand>;

/// main's own arguments: MPI wants to see them.
struct Process {
  int& argc;
  char**& argv;
};

ExitCode run(const TrainCommand& command, Process& process);
ExitCode run(const EvalCommand& command, Process& process);
ExitCode run(const GenerateCommand& command, Process& process);
ExitCode run(const InspectCommand& command, Process& process);
ExitCode run(const VerifyCommand& command, Process& process);
ExitCode run(const PlanCommand& command, Process& process);
ExitCode run(const ConfigCommand& command, Process& process);
ExitCode run(const BenchCommand& command, Process& process);
ExitCode run(const DoctorCommand& command, Process& process);
ExitCode run(const LaunchCommand& command, Process& process);
ExitCode run(const TextCommand& command, Process& process);

}  // namespace ballast
