#include "launcher/bench/bench.h"

#include <cstdio>

#include "launcher/agreement.h"
#include "launcher/config.h"
#include "launcher/workers.h"
#include "runtime/devices.h"
#include "runtime/threads.h"

namespace ballast {

namespace {

/// Collective. Of the job, where the benchmark has one; --backend wins.
ComputeSection compute_of(const BenchCommand& command, Communicator& world) {
  const auto load = [&] { return load_config(command.job, {command.overrides, process_environment()}); };
  ComputeSection compute = agree_on_config(world, load).config.compute;
  if (!command.backend.empty()) compute.backend = command.backend;
  return compute;
}

}  // namespace

const std::vector<Bench>& benches() {
  static const std::vector<Bench> kBenches = {
      {"gemm", "Matrix products of training: floating-point operations a second",
       kBenchShapes | kBenchPrecision | kBenchSeconds | kBenchThreads,
       "MxNxK is a layer with M samples or positions, N outputs and K inputs. Its three products are timed: forward,\n"
       "gradient of the data, and gradient of the weights, which is added in f32. All workers run at the same time.\n\n"
       "Example:\n  mpirun -n 2 ballast bench gemm --shapes 1024x3072x768,256x10x1024 --precision bf16",
       bench_gemm},
      {"checkpoint", "Checkpoints of a job's model: write, stall, read", kBenchJob | kBenchSeconds | kBenchThreads,
       "Write: until the checkpoint is published, everything on disk. Stall: how long training would be held. Read:\n"
       "loading it again with all digests checked; the operating system may still have it in memory. Files are in a\n"
       "folder beside job.dir, which is removed.\n\n"
       "Example:\n  mpirun -n 2 ballast bench checkpoint job.toml job.dir=/scratch/run",
       bench_checkpoint},
      {"collective", "Reduction, clipping and AdamW, as in training, against MPI's all-reduce",
       kBenchSizes | kBenchSeconds | kBenchThreads,
       "One shard per worker; making the gradients is not timed. GB/s: bytes of the gradient by time; bus GB/s: that\n"
       "times 2 (n - 1) / n, for n workers. MPI: its all-reduce, then norm, clipping and AdamW of everything on every\n"
       "worker. Roof: the bytes that reduction, norm and update must move at least (4 n + 32 an element, alone 32), "
       "at\n"
       "the speed of an addition in place, measured just before. 'gpt2' stands for the 124 million weights of "
       "GPT-2.\n\n"
       "Example:\n  mpirun -n 2 ballast bench collective --sizes 64K,256M,gpt2",
       bench_collective},
      {"memory", "Passes over memory: bytes a second", kBenchSeconds | kBenchThreads,
       "Bytes that the operation names are counted, not what caches add to them: read 4 per element, copy 8, triad "
       "12,\n"
       "add (in place) 12, adamw 28, adamw with the bf16 copy 30. All workers run at the same time.\n\n"
       "Example:\n  mpirun -n 2 ballast bench memory",
       bench_memory},
      {"network", "Messages between nodes: latency, cost, and bytes a second in both directions at once",
       kBenchSeconds | kBenchThreads,
       "One worker of every node sends and receives in pieces of 256 KiB. ring: to its successor; rotation: to all "
       "others\n"
       "in turn, as training does; swap: in pairs. What a message costs, and the best rate, are what [cluster] of a "
       "job "
       "file\n"
       "asks for: message_seconds and network_bandwidth.\n\n"
       "Example:\n  mpirun --host node1,node2 ballast bench network",
       bench_network},
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
    const WorkerBackend worker = make_worker_backend(world, compute_of(command, world), threads.threads);
    for (const std::string& warning : {threads.warning, worker.warning}) {
      if (world.rank() == 0 && !warning.empty()) std::fprintf(stderr, "ballast: warning: %s\n", warning.c_str());
    }
    BenchSite site{world, *worker.backend};
    const BenchText text = body(site);
    if (world.rank() == 0) std::fputs((command.json ? text.json : text.table).c_str(), stdout);
    return ExitCode::kOk;
  });
}

}  // namespace ballast
