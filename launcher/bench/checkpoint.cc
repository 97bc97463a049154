// Implements bench_checkpoint: what saving and loading the weights of a job costs.
#include "checkpoints/checkpoint.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>

#include "compute/error.h"
#include "launcher/agreement.h"
#include "launcher/bench/bench.h"
#include "launcher/bench/figures.h"
#include "launcher/config.h"
#include "launcher/number_text.h"
#include "launcher/table.h"
#include "models/model.h"
#include "runtime/coordinator.h"
#include "runtime/timing.h"

namespace ballast {
namespace {

namespace fs = std::filesystem;

/// A new folder beside `job_dir`, so on the disk that training would write to. Removed by rank 0. Collective.
class FolderBeside {
 public:
  FolderBeside(const std::string& job_dir, Communicator& world) : mine_(world.rank() == 0) {
    std::string mistake;
    if (mine_) {
      fs::path parent = fs::absolute(job_dir).lexically_normal().parent_path();
      while (!fs::exists(parent) && parent.has_relative_path()) parent = parent.parent_path();
      path_ = (parent / ".ballast-bench-XXXXXX").string();
      if (mkdtemp(path_.data()) == nullptr) mistake = path_ + ": cannot be made: " + std::strerror(errno);
    }
    path_ = broadcast_string(world, path_, 0);
    mistake = broadcast_string(world, mistake, 0);
    if (!mistake.empty()) throw Error(mistake, ExitCode::kIo);
  }
  FolderBeside(const FolderBeside&) = delete;
  FolderBeside& operator=(const FolderBeside&) = delete;
  ~FolderBeside() {
    std::error_code ignored;
    if (mine_) fs::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  bool mine_;
  std::string path_;
};

/// The weights and the optimizer state of a job, without model memory and data.
class Weighing {
 public:
  Weighing(const JobConfig& config, BenchSite& site)
      : parameters_(build_model(config.model, dtype_named(config.precision.compute), 1).parameters()),
        reduction_(make_split_allreduce(site.world, site.backend, parameters_.flat_size(), blocks_of(parameters_),
                                        dtype_named(config.precision.compute) == DType::kBF16,
                                        options_of(config, site.world.size()))),
        tensors_(parameters_, config, options_of(config, site.world.size()).shards),
        coordinator_(parameters_, *reduction_, site.backend, site.world, config, 1, clock_) {
    coordinator_.initialise(static_cast<std::uint64_t>(config.job.seed));
  }
  [[nodiscard]] const std::vector<TensorSpec>& tensors() const { return tensors_.specs(); }
  [[nodiscard]] std::vector<TensorPiece> pieces() const { return tensors_.numbered(coordinator_.pieces()); }

 private:
  static SplitAllReduceOptions options_of(const JobConfig& config, int workers) {
    const auto least = static_cast<std::int64_t>(std::bit_ceil(static_cast<unsigned>(workers)));
    return {.shards = static_cast<int>(config.batch.shards > 0 ? config.batch.shards : least),
            .groups = static_cast<int>(config.comm.groups),
            .coding = coding_of(config.comm),
            .coordinators = static_cast<int>(config.comm.coordinators),
            .share_memory = config.comm.share_memory,
            .plugins = config.compute.plugins};
  }

  ParameterTable parameters_;
  std::unique_ptr<SplitAllReduce> reduction_;
  PhaseClock clock_;
  StateTensors tensors_;
  Coordinator coordinator_;
};

/// Seconds of the slowest worker, by repetition.
struct Costs {
  std::vector<double> stall, write, read;
  std::int64_t bytes = 0;
};

double slowest(Communicator& world, double mine) {
  const std::vector<double> all = gather_numbers(world, mine);
  return *std::max_element(all.begin(), all.end());
}

void save_and_load(std::int64_t step, const Weighing& weighing, CheckpointWriter& writer, const std::string& folder,
                   Communicator& world, Backend& backend, Costs& costs) {
  TrainingState state;
  state.step = step;
  world.barrier();
  const Clock write;
  writer.start(weighing.tensors(), readable(weighing.pieces()), state, backend);
  const double stall = write.seconds();
  const std::optional<SaveResult> result = writer.finish();
  costs.write.push_back(slowest(world, write.seconds()));
  costs.stall.push_back(slowest(world, stall));
  if (!result || !result->ok) throw Error(result ? result->message : "nothing was saved", ExitCode::kIo);
  costs.bytes = result->bytes;
  world.barrier();
  const Clock read;
  Checkpoint::open(real_file_system(), folder + '/' + checkpoint_name(step)).read(weighing.pieces(), backend);
  costs.read.push_back(slowest(world, read.seconds()));
}

Costs measure(const JobConfig& config, double seconds, BenchSite& site) {
  constexpr std::size_t kFewest = 3;
  Weighing weighing(config, site);
  const FolderBeside folder(config.job.dir, site.world);
  CheckpointWriter writer(real_file_system(), site.world, {.directory = folder.path(), .keep = 1});
  Costs costs;
  const Clock all;
  // Equal on every worker: the slowest clock decides.
  while (costs.read.size() < kFewest || slowest(site.world, all.seconds()) < seconds) {
    const auto step = static_cast<std::int64_t>(costs.read.size()) + 1;
    save_and_load(step, weighing, writer, folder.path(), site.world, site.backend, costs);
  }
  return costs;
}

BenchText text_of(const Costs& costs, const std::string& model, BenchSite& site) {
  Table table("lrrr");
  table.add({"", "ms", "lowest..highest", "GB/s"});
  nlohmann::ordered_json json = site_json("checkpoint", site);
  json["model"] = model;
  json["bytes"] = costs.bytes;
  json["repetitions"] = costs.read.size();
  const auto add = [&](const char* name, const std::vector<double>& times) {
    const Spread spread = spread_of(times);
    const double rate = static_cast<double>(costs.bytes) / spread.median;
    table.add({name, fixed_number(spread.median * 1e3, 1),
               fixed_number(spread.low * 1e3, 1) + ".." + fixed_number(spread.high * 1e3, 1),
               fixed_number(rate / 1e9, 2)});
    json[name] = {{"seconds", spread.median}, {"low", spread.low}, {"high", spread.high}, {"bytes_per_second", rate}};
  };
  add("write", costs.write);
  add("stall", costs.stall);
  add("read", costs.read);
  const std::string size = bytes_text(static_cast<double>(costs.bytes));
  return {site_text(site) + model + ": " + size + " of weights and optimizer state\n" + table.text(),
          json.dump() + '\n'};
}

}  // namespace

ExitCode bench_checkpoint(const BenchCommand& command, Process& process) {
  return run_on_workers(command, process, [&](BenchSite& site) {
    const auto load = [&] { return load_config(command.job, {command.overrides, process_environment()}); };
    const JobConfig config = agree_on_config(site.world, load).config;
    return text_of(measure(config, command.seconds, site), config.model.name, site);
  });
}

}  // namespace ballast
