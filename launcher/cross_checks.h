// Defines: cross_check: rules between keys.
#pragma once

#include <string>
#include <vector>

#include "launcher/config.h"

namespace ballast {

struct CrossError {
  std::string key;  ///< "batch.size": the key to look at
  std::string message;
};

[[nodiscard]] std::vector<CrossError> cross_check(const JobConfig& config, ConfigUse use);

}  // namespace ballast
