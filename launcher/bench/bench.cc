#include "launcher/bench/bench.h"

#include <cstdio>

#include "launcher/workers.h"
#include "runtime/threads.h"

namespace ballast {

const std::vector<Bench>& benches() {
  static const std::vector<Bench> kBenches = {
      {"gemm", "Matrix products of training: floating-point operations a second",
       kBenchShapes | kBenchPrecision | kBenchSeconds | kBenchThreads,
       "MxNxK is a layer with M samples or positions, N outputs and K inputs. Its three products are timed: forward,\n"
       "gradient of the data, and gradient of the weights, which is added in f32. All workers run at the same time.\n\n"
       "Example:\n  mpirun -n 2 ballast bench gemm --shapes 1024x3072x768,256x10x1024 --precision bf16",
       bench_gemm},
      {"memory", "Passes over memory: bytes a second", kBenchSeconds | kBenchThreads,
       "Bytes that the operation names are counted, not what caches add to them: read 4 per element, copy 8, triad "
       "12,\n"
       "add (in place) 12, adamw 28, adamw with the bf16 copy 30. All workers run at the same time.\n\n"
       "Example:\n  mpirun -n 2 ballast bench memory",
       bench_memory},
      {"step", "Steps of a job: where their time goes, against what this machine could do", kBenchJob | kBenchSeconds,
       "Steps are run as `ballast train` runs them, and nothing is kept. The roof is the time that a step's "
       "operations\n"
       "take at the rate of a large matrix product plus its bytes at the bandwidth of memory, both measured in this "
       "run.\n\n"
       "Example:\n  mpirun -n 2 ballast bench step job.toml batch.size=8",
       bench_step_of_job},
  };
  return kBenches;
}

ExitCode run(const BenchCommand& command, Process& process) {
  for (const Bench& bench : benches()) {
    if (command.bench == bench.name) return bench.run(command, process);
  }
  throw Error("bench: there is no benchmark '" + command.bench + "'", ExitCode::kUsage);
}

ExitCode run_on_workers(const BenchCommand& command, Process& process,
                        const std::function<BenchText(BenchSite&)>& body) {
  return run_as_worker(process, [&](Communicator& world) {
    const ThreadChoice threads = threads_for_worker(world, command.threads);
    if (world.rank() == 0 && !threads.warning.empty()) {
      std::fprintf(stderr, "ballast: warning: %s\n", threads.warning.c_str());
    }
    const auto backend = make_backend({.name = "cpu", .threads = threads.threads});
    BenchSite site{world, *backend};
    const BenchText text = body(site);
    if (world.rank() == 0) std::fputs((command.json ? text.json : text.table).c_str(), stdout);
    return ExitCode::kOk;
  });
}

}  // namespace ballast
