// Defines: Bench, benches, BenchSite, BenchText, run_on_workers: the benchmarks of `ballast bench`. A new one is one
// file here, and one line in the table of bench.cc.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "compute/backend.h"
#include "launcher/commands/commands.h"

namespace ballast {

/// Options that a benchmark has beside --json, as bits.
enum BenchOption : unsigned {
  kBenchJob = 1U,  ///< a job file and settings
  kBenchShapes = 2U,
  kBenchSizes = 4U,
  kBenchPrecision = 8U,
  kBenchSeconds = 16U,
  kBenchThreads = 32U,
};

struct Bench {
  const char* name;
  const char* summary;
  unsigned options;
  const char* footer;  ///< of its help: what the figures mean, and an example
  ExitCode (*run)(const BenchCommand& command, Process& process);
};

[[nodiscard]] const std::vector<Bench>& benches();

/// What run_on_workers gives to a benchmark: alive while it runs.
struct BenchSite {
  Communicator& world;
  Backend& backend;
};

/// What rank 0 prints: one of the two.
struct BenchText {
  std::string table;
  std::string json;  ///< one line with its newline
};

/// Starts MPI and a backend on every worker, runs `body` on all of them, and prints on rank 0.
[[nodiscard]] ExitCode run_on_workers(const BenchCommand& command, Process& process,
                                      const std::function<BenchText(BenchSite&)>& body);

// The benchmarks, each in the file of its name.
ExitCode bench_checkpoint(const BenchCommand& command, Process& process);
ExitCode bench_collective(const BenchCommand& command, Process& process);
ExitCode bench_gemm(const BenchCommand& command, Process& process);
ExitCode bench_memory(const BenchCommand& command, Process& process);
ExitCode bench_network(const BenchCommand& command, Process& process);
ExitCode bench_step_of_job(const BenchCommand& command, Process& process);

}  // namespace ballast
