// Defines: GenerateOptions, generate: text from a trained gpt.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/model.h"

namespace ballast {

struct GenerateOptions {
  std::int64_t tokens = 200;
  double temperature = 1.0;  ///< 0: always the most likely token
  std::int64_t top_k = 0;    ///< draw among the k most likely; 0: all
  std::uint64_t seed = 1;
};

/// Extends `prompt` (at least one token, each within the vocabulary) token by token; each new one is given to `emit` at
/// once. Sees at most the model's context. A pure function of its arguments. ConfigError when the model does not read
/// tokens.
void generate(Model& model, const ParameterMemory& memory, std::vector<std::int32_t> prompt,
              const GenerateOptions& options, const std::function<void(std::int32_t)>& emit);

}  // namespace ballast
