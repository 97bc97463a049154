#include "runtime/resume.h"

#include <filesystem>

#include "compute/error.h"

namespace ballast {
namespace {

bool is_checkpoint(const std::filesystem::path& path) { return path.filename().string().starts_with("step-"); }

std::string directory_asked_for(const std::string& resume) {
  std::filesystem::path path(resume);
  if (!path.has_filename()) path = path.parent_path();
  return path.string();
}

bool names(const std::filesystem::path& a, const std::filesystem::path& b) {
  return std::filesystem::weakly_canonical(a) == std::filesystem::weakly_canonical(b);
}

// A run that began from another run's checkpoint goes on from its own newest one when the same command is started
// again.
void require_other_folder(const std::filesystem::path& path, const std::string& own, const std::string& newest) {
  if (!is_checkpoint(path) || !names(path.parent_path(), own)) return;
  throw ConfigError("job.resume = \"" + path.string() + "\" but the run has gone on to " + newest +
                    ": choose another job.dir to branch off, or remove the later checkpoints");
}

void require_equal(const char* key, const std::string& stored, const std::string& now) {
  if (stored == now) return;
  throw ConfigError(std::string(key) + " = " + now + " but the checkpoint was trained with " + stored + ": keep " +
                    stored + ", or start a new run in another job.dir");
}

void require_equal(const char* key, std::int64_t stored, std::int64_t now) {
  require_equal(key, std::to_string(stored), std::to_string(now));
}

// Checkpoints from before these numbers were written say nothing of `shuffle`, and knew no chunks.
void require_same_order(const TrainingState& state, const SampleOrder& now) {
  const auto shuffle = state.numbers.find("data.shuffle");
  const auto chunk = state.numbers.find("data.chunk");
  const auto text = [](bool value) -> std::string { return value ? "true" : "false"; };
  if (shuffle != state.numbers.end()) require_equal("data.shuffle", text(shuffle->second != 0.0), text(now.shuffle));
  require_equal("data.chunk", chunk == state.numbers.end() ? 0 : static_cast<std::int64_t>(chunk->second), now.chunk);
}

}  // namespace

std::string checkpoint_folder(const JobConfig& config) { return config.job.dir + "/checkpoints"; }

std::optional<Checkpoint> find_resume_point(FileSystem& files, Communicator& world, const JobConfig& config,
                                            std::vector<std::string>& warnings) {
  const std::string& resume = config.job.resume;
  const std::string own = checkpoint_folder(config);
  if (resume == "never") {
    if (!list_checkpoints(files, own).empty()) {
      throw ConfigError("job.resume = \"never\" but " + own +
                        " holds checkpoints: choose another job.dir, remove them, or set job.resume = \"auto\"");
    }
    return std::nullopt;
  }
  std::optional<Checkpoint> newest = newest_checkpoint(files, world, own, warnings, Soundness::kOpens);
  if (resume == "auto") return newest;
  const std::string path = directory_asked_for(resume);
  if (newest) {
    if (!names(path, newest->directory())) require_other_folder(path, own, newest->directory());
    return newest;
  }
  if (is_checkpoint(path)) return Checkpoint::open(files, path);
  for (const std::string& folder : {path + "/checkpoints", path}) {
    newest = newest_checkpoint(files, world, folder, warnings, Soundness::kOpens);
    if (newest) return newest;
  }
  throw DataError("job.resume = \"" + resume + "\": there is no checkpoint");
}

Checkpoint older_resume_point(FileSystem& files, Communicator& world, const JobConfig& config,
                              const Checkpoint& damaged, const std::string& damage,
                              std::vector<std::string>& warnings) {
  const std::filesystem::path path(damaged.directory());
  const std::string asked_for = directory_asked_for(config.job.resume);
  if (is_checkpoint(asked_for) && names(asked_for, path)) throw DataError(damage);
  warnings.push_back("checkpoint of step " + std::to_string(damaged.step()) + " is passed over: " + damage);
  // There is one at least, so that where none is sound this throws.
  return newest_checkpoint(files, world, path.parent_path().string(), warnings, Soundness::kOpens, damaged.step())
      .value();
}

void Continuity::write_to(TrainingState& state) const {
  state.seed = seed;
  state.shards = shards;
  state.numbers["batch.size"] = static_cast<double>(batch);
  state.numbers["batch.micro"] = static_cast<double>(micro);
  state.numbers["data.shuffle"] = order.shuffle ? 1.0 : 0.0;
  state.numbers["data.chunk"] = static_cast<double>(order.chunk);
  state.texts["data.fingerprint"] = data;
  state.texts["comm.compression"] = compression;
  state.texts["outer"] = outer;
}

void require_continuable(const TrainingState& state, const Continuity& now) {
  const auto stored = [&state](const char* key) {
    const auto found = state.numbers.find(key);
    if (found == state.numbers.end()) throw DataError(std::string("the checkpoint's state lacks ") + key);
    return static_cast<std::int64_t>(found->second);
  };
  require_equal("job.seed", static_cast<std::int64_t>(state.seed), static_cast<std::int64_t>(now.seed));
  require_equal("batch.shards", state.shards, now.shards);
  require_equal("batch.size", stored("batch.size"), now.batch);
  require_equal("batch.micro", stored("batch.micro"), now.micro);
  const auto require_same = [&state](const std::string& key, const std::string& value) {
    const auto found = state.texts.find(key);
    const std::string before = found == state.texts.end() ? "none" : found->second;
    if (before == value) return;
    throw ConfigError(key + " is \"" + value + "\" but the checkpoint was trained with \"" + before +
                      "\": keep that, or start a new run in another job.dir");
  };
  require_same("comm.compression", now.compression);
  require_same("outer", now.outer);
  require_same_order(state, now.order);
  const auto data = state.texts.find("data.fingerprint");
  if (data != state.texts.end() && data->second == now.data) return;
  throw DataError(
      "the training data is not what the checkpoint was trained on: restore data.train, or start a new run in another "
      "job.dir");
}

}  // namespace ballast
