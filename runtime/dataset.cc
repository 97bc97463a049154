// Implements open_datasets of runtime/dataset.h.
#include "runtime/dataset.h"

#include "runtime/data/formats.h"

namespace ballast {
namespace {

void check_kind(const DataSection& config, const InputSpec& input) {
  const bool feeds_tokens = config.format == "text" || config.format == "tokens";
  if (feeds_tokens && input.kind != InputSpec::Kind::kTokens) {
    throw ConfigError(
        "data.format = \"" + config.format +
        "\" feeds tokens, but this model takes features: use \"idx\" or \"synthetic\", or model.name = \"gpt\"");
  }
  if (config.format == "idx" && input.kind != InputSpec::Kind::kFeatures) {
    throw ConfigError(
        "data.format = \"idx\" feeds images, but this model takes tokens: use \"text\", \"tokens\" or \"synthetic\", "
        "or "
        "model.name = \"convnet\" or \"mlp\"");
  }
}

void check_section(const DataSection& config) {
  if (!(config.fraction >= 0.0 && config.fraction < 1.0)) {
    throw ConfigError("data.validation, as a fraction of data.train, must be at least 0 and below 1");
  }
  if (config.format != "synthetic" && config.train.empty()) {
    throw ConfigError("data.train is missing: data.format = \"" + config.format + "\" needs the path of a file");
  }
}

}  // namespace

Datasets open_datasets(const DataSection& config, const InputSpec& input, std::uint64_t seed) {
  const std::string& format = config.format;
  if (format != "text" && format != "tokens" && format != "idx" && format != "synthetic") {
    throw ConfigError("data.format = \"" + format + "\" is unknown; known: text, tokens, idx, synthetic");
  }
  check_kind(config, input);
  check_section(config);
  if (format == "text") return open_text(config, input);
  if (format == "tokens") return open_tokens(config, input);
  if (format == "idx") return open_idx(config, input);
  return open_synthetic(config, input, seed);
}

}  // namespace ballast
