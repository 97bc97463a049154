#include "launcher/find_checkpoint.h"

#include <filesystem>

#include "compute/error.h"

namespace ballast {
namespace {

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool is_checkpoint_name(const std::string& path) {
  return std::filesystem::path(without_slashes(path)).filename().string().starts_with("step-");
}

}  // namespace

std::optional<std::string> checkpoints_folder(FileSystem& files, const std::string& given) {
  const std::string path = without_slashes(given);
  if (!files.exists(path)) throw DataError(path + ": there is no such checkpoint or run folder");
  // A damaged checkpoint may have lost its manifest: then its name still says what it is.
  if (files.exists(path + "/manifest.json") || is_checkpoint_name(path)) return std::nullopt;
  for (const std::string& folder : {path + "/checkpoints", path}) {
    if (!list_checkpoints(files, folder).empty()) return folder;
  }
  throw DataError(path + ": holds no checkpoint; name a run folder, its checkpoints folder or a checkpoint (step-...)");
}

std::string find_checkpoint(FileSystem& files, const std::string& path) {
  const std::optional<std::string> folder = checkpoints_folder(files, path);
  if (!folder) return without_slashes(path);
  return *folder + '/' + checkpoint_name(list_checkpoints(files, *folder).front());
}

}  // namespace ballast
