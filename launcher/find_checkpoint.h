// Defines: checkpoints_folder, find_checkpoint: which checkpoint a path on the command line means.
#pragma once

#include <optional>
#include <string>

#include "checkpoints/checkpoint.h"

namespace ballast {

/// The folder whose newest checkpoint a run folder or a checkpoints folder stands for; nullopt when `path` is a
/// checkpoint itself. DataError when it is none of these, or there is no checkpoint in it.
[[nodiscard]] std::optional<std::string> checkpoints_folder(FileSystem& files, const std::string& path);

/// The checkpoint itself, or the newest one, sound or not.
[[nodiscard]] std::string find_checkpoint(FileSystem& files, const std::string& path);

}  // namespace ballast
