// Implements list_checkpoints, newest_checkpoint, read_together and require_same_tensors: which checkpoint a job goes
// on from.
#include <algorithm>
#include <map>
#include <utility>

#include "checkpoints/checkpoint.h"
#include "checkpoints/format/names.h"
#include "checkpoints/format/wire.h"
#include "comm/communicator.h"
#include "compute/error.h"

namespace ballast {
namespace {

// `warnings` hold what is known of those from `before` on.
std::optional<Checkpoint> newest_sound(FileSystem& files, const std::string& directory,
                                       std::vector<std::string>& warnings, Soundness soundness, std::int64_t before) {
  const std::vector<std::int64_t> steps = list_checkpoints(files, directory);
  for (const std::int64_t step : steps) {
    if (step >= before) continue;
    try {
      Checkpoint checkpoint = Checkpoint::open(files, directory + "/" + checkpoint_name(step));
      if (soundness == Soundness::kVerified) checkpoint.verify();
      return checkpoint;
    } catch (const Error& error) {
      if (error.code() == ExitCode::kVersion) throw;
      warnings.push_back("checkpoint of step " + std::to_string(step) + " is passed over: " + error.what());
    }
  }
  if (steps.empty()) return std::nullopt;
  throw DataError(directory + ": no checkpoint of the " + std::to_string(steps.size()) +
                  " here is sound (the newest: " + warnings.front() + "); restore one, or start in another directory");
}

enum class Outcome : char { kNone = 'n', kFound = 'f', kFailed = 'x' };

std::string failed(ExitCode code, const std::string& what) {
  return pack({std::string(1, static_cast<char>(Outcome::kFailed)), std::to_string(static_cast<int>(code)), what});
}

}  // namespace

std::vector<std::int64_t> list_checkpoints(FileSystem& files, const std::string& directory) {
  std::vector<std::int64_t> steps;
  for (const std::string& name : files.list(directory + "/.")) {
    if (const auto step = step_of(name)) steps.push_back(*step);
  }
  std::sort(steps.rbegin(), steps.rend());
  return steps;
}

std::optional<Checkpoint> newest_checkpoint(FileSystem& files, Communicator& group, const std::string& directory,
                                            std::vector<std::string>& warnings, Soundness soundness,
                                            std::int64_t before) {
  std::optional<Checkpoint> mine;
  std::vector<std::string> found = warnings;
  std::string message;
  if (group.rank() == 0) {
    try {
      mine = newest_sound(files, directory, found, soundness, before);
      const auto outcome = mine ? Outcome::kFound : Outcome::kNone;
      message = pack({std::string(1, static_cast<char>(outcome)), mine ? mine->pack() : "", pack(found)});
    } catch (const Error& error) {
      message = failed(error.code(), error.what());
    } catch (const std::exception& error) {
      message = failed(ExitCode::kInternal, error.what());
    }
  }
  const std::vector<std::string> parts = unpack(broadcast_string(group, message, 0));
  const auto outcome = static_cast<Outcome>(parts.at(0).at(0));
  if (outcome == Outcome::kFailed) {
    const auto code = static_cast<ExitCode>(std::stoi(parts.at(1)));
    if (code == ExitCode::kData) throw DataError(parts.at(2));
    throw Error(parts.at(2), code);
  }
  warnings = unpack(parts.at(2));
  if (outcome == Outcome::kNone) return std::nullopt;
  if (mine) return mine;
  std::vector<std::string> packed = unpack(parts.at(1));
  return Checkpoint(files, packed.at(0), std::move(packed.at(1)), packed.at(2));
}

std::string read_together(const Checkpoint& checkpoint, std::span<const TensorPiece> pieces, Backend& backend,
                          Communicator& group) {
  std::string mine;
  try {
    checkpoint.read(pieces, backend);
  } catch (const Error& error) {
    if (error.code() != ExitCode::kData && error.code() != ExitCode::kIo) throw;
    mine = error.what();
  }
  for (const std::string& text : all_gather_strings(group, mine)) {
    if (!text.empty()) return text;
  }
  return {};
}

void require_same_tensors(const Checkpoint& checkpoint, const std::vector<TensorSpec>& expected) {
  const auto differ = [&](const TensorSpec& tensor, const std::string& stored, const std::string& wanted) {
    throw DataError(checkpoint.directory() + ": is of another model: tensor '" + tensor.name + "' of " +
                    file_name_of(tensor.file) + " is " + stored + " in the checkpoint and " + wanted + " in the model");
  };
  std::map<std::pair<TensorFile, std::string>, const TensorSpec*> stored;
  for (const TensorSpec& tensor : checkpoint.tensors()) stored.emplace(std::pair(tensor.file, tensor.name), &tensor);
  for (const TensorSpec& tensor : expected) {
    const auto found = stored.find({tensor.file, tensor.name});
    if (found == stored.end()) {
      differ(tensor, "absent", tensor.shape.to_string());
    } else if (found->second->shape != tensor.shape) {
      differ(tensor, found->second->shape.to_string(), tensor.shape.to_string());
    }
    stored.erase({tensor.file, tensor.name});
  }
  for (const TensorSpec& tensor : checkpoint.tensors()) {
    if (stored.contains({tensor.file, tensor.name})) differ(tensor, tensor.shape.to_string(), "absent");
  }
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] != checkpoint.tensors()[i]) {
      throw DataError(checkpoint.directory() + ": is of another model: tensor number " + std::to_string(i) + " is '" +
                      checkpoint.tensors()[i].name + "' in the checkpoint and '" + expected[i].name + "' in the model");
    }
  }
}

}  // namespace ballast
