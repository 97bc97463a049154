// Defines: ConfigSources, ConfigUse, load_config, config_from_text, print_config: from a job file to a JobConfig and
// back.
//
// Later sources win: defaults, the file, BALLAST_SECTION_KEY variables, section.key=value arguments. Every mistake in
// all of them is reported at once, in one ConfigError with a line each, below a heading where there are several:
//   job.toml:3:1: unknown key 'learning_rate' in [optimizer]; did you mean 'lr'?
#pragma once

#include <string>
#include <vector>

#include "runtime/job.h"

namespace ballast {

enum class ConfigUse {
  kTrain,  ///< the length of the run must be given
  kOther,
};

struct ConfigSources {
  std::vector<std::string> arguments{};    ///< "optimizer.lr=3e-4"; quotes around texts may be left out
  std::vector<std::string> environment{};  ///< "NAME=value" of all variables; those that begin with BALLAST_ count
  ConfigUse use = ConfigUse::kOther;
};

/// Relative paths in it stay relative to the current directory. `path` may be "": defaults. Throws ConfigError.
[[nodiscard]] JobConfig load_config(const std::string& path, const ConfigSources& sources);

/// The same for a text; `name` stands for its path in messages.
[[nodiscard]] JobConfig config_from_text(const std::string& text, const std::string& name,
                                         const ConfigSources& sources);

/// Every key with its value, as a job file that load_config reads back to the same JobConfig.
[[nodiscard]] std::string print_config(const JobConfig& config);

/// The variables of this process.
[[nodiscard]] std::vector<std::string> process_environment();

}  // namespace ballast
