#include "checkpoints/writing/retention.h"

#include <vector>

#include "checkpoints/checkpoint.h"
#include "checkpoints/format/names.h"

namespace ballast {
namespace {

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::vector<std::int64_t> no_longer_kept(FileSystem& files, const std::string& directory, std::int64_t newest,
                                         const Retention& retention) {
  std::vector<std::int64_t> steps;
  int kept = 0;
  for (const std::int64_t step : list_checkpoints(files, directory)) {
    if (step > newest || kept++ < retention.keep || step == newest || retention.pinned.contains(step)) continue;
    steps.push_back(step);
  }
  return steps;
}

}  // namespace

void make_directories(FileSystem& files, const std::string& directory) {
  const std::string path = directory.substr(0, directory.find_last_not_of('/') + 1);
  if (path.empty() || files.exists(path)) return;
  make_directories(files, parent_of(path));
  files.make_directory(path);
  files.sync_directory(parent_of(path));
}

void remove_tree(FileSystem& files, const std::string& path) {
  for (const std::string& name : files.list(path)) files.remove_file(path + "/" + name);
  files.remove_directory(path);
}

void remove_leftovers(FileSystem& files, const std::string& directory) {
  for (const std::string& name : files.list(directory + "/.")) {
    if (name.starts_with(".tmp-step-") || name.starts_with(".trash-step-")) remove_tree(files, directory + "/" + name);
  }
}

void remove_old_checkpoints(FileSystem& files, const std::string& directory, std::int64_t newest,
                            const Retention& retention) {
  const std::vector<std::int64_t> steps = no_longer_kept(files, directory, newest, retention);
  std::vector<std::string> hidden;
  for (const std::int64_t step : steps) {
    const std::string name = checkpoint_name(step);
    hidden.push_back(directory + "/" + hidden_name(".trash-", name));
    files.rename(directory + "/" + name, hidden.back());
  }
  if (!hidden.empty()) files.sync_directory(directory);
  for (const std::string& path : hidden) remove_tree(files, path);
}

}  // namespace ballast
