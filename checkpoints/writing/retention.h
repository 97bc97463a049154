// Defines: make_directories, remove_leftovers, remove_tree, remove_old_checkpoints: what else rank 0 does to the
// directory. Only the holder of its lock calls these.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "checkpoints/file_system.h"

namespace ballast {

/// Makes a directory and what is missing above it, durably.
void make_directories(FileSystem& files, const std::string& directory);
/// Removes what dead jobs left: half-written and half-removed checkpoints.
void remove_leftovers(FileSystem& files, const std::string& directory);
/// A directory and the files in it.
void remove_tree(FileSystem& files, const std::string& path);

struct Retention {
  int keep = 1;
  std::set<std::int64_t> pinned;
};

/// Removes checkpoints older than the `keep` newest up to and with `newest`. Pinned ones stay, and so do those of later
/// steps: they belong to another attempt, which the user may want back. Each is hidden by a rename first, so that none
/// is ever visible in part.
void remove_old_checkpoints(FileSystem& files, const std::string& directory, std::int64_t newest,
                            const Retention& retention);

}  // namespace ballast
