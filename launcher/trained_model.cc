#include "launcher/trained_model.h"

#include <algorithm>
#include <cstdio>

#include "launcher/agreement.h"
#include "launcher/config.h"
#include "launcher/find_checkpoint.h"
#include "runtime/devices.h"
#include "runtime/threads.h"

namespace ballast {
namespace {

void warn(Communicator& world, const std::string& text) {
  if (world.rank() == 0 && !text.empty()) std::fprintf(stderr, "warning: %s\n", text.c_str());
}

Checkpoint open_checkpoint(Communicator& world, const std::string& path) {
  FileSystem& files = real_file_system();
  const std::optional<std::string> folder = checkpoints_folder(files, path);
  if (!folder) return Checkpoint::open(files, find_checkpoint(files, path));
  std::vector<std::string> warnings;
  std::optional<Checkpoint> newest = newest_checkpoint(files, world, *folder, warnings, Soundness::kVerified);
  for (const std::string& text : warnings) warn(world, text);
  if (!newest) throw DataError(*folder + ": holds no checkpoint");
  return std::move(*newest);
}

std::int64_t micro_of(const JobConfig& config, std::int64_t shards) {
  const std::int64_t shard = (config.batch.size + shards - 1) / std::max<std::int64_t>(shards, 1);
  return config.batch.micro > 0 ? std::min(config.batch.micro, shard) : shard;
}

}  // namespace

TrainedModel open_trained_model(Communicator& world, const std::string& path, const std::vector<std::string>& overrides,
                                std::int64_t micro) {
  Checkpoint checkpoint = open_checkpoint(world, path);
  const TrainingState& state = checkpoint.state();
  const auto load = [&] {
    return config_from_text(state.config, "job file in " + checkpoint.directory(), {overrides, process_environment()});
  };
  JobConfig config = agree_on_config(world, load).config;
  const ThreadChoice threads = threads_for_worker(world, config.compute.threads);
  warn(world, threads.warning);
  auto [backend, warning] = make_worker_backend(world, config.compute, threads.threads);
  warn(world, warning);
  const std::int64_t samples = micro > 0 ? micro : micro_of(config, state.shards);
  Model model = build_model(config.model, dtype_named(config.precision.compute), samples);
  model.allocate(*backend, static_cast<std::uint64_t>(config.job.seed));
  Weights weights(checkpoint, model, *backend);
  return {std::move(checkpoint), std::move(config), std::move(backend), std::move(model), std::move(weights)};
}

}  // namespace ballast
