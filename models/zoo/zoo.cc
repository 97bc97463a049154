#include "models/zoo/zoo.h"

#include <array>
#include <cstdio>

namespace ballast {
namespace {

constexpr float kNormalDeviation = 0.02F;  // Radford et al. 2019

bool known_initializer(const std::string& name) {
  return name == "auto" || name == "xavier" || name == "he" || name == "normal";
}

void check_common(const ModelConfig& config) {
  ConfigCheck check;
  std::array<char, 32> dropout{};
  std::snprintf(dropout.data(), dropout.size(), "%g", static_cast<double>(config.dropout));
  check.expect(config.dropout >= 0.0F && config.dropout < 1.0F,
               std::string("model.dropout = ") + dropout.data() + " is not in [0, 1)");
  check.expect(
      known_initializer(config.initializer),
      "model.initializer = \"" + config.initializer + "\" is unknown: use \"auto\", \"xavier\", \"he\" or \"normal\"");
  check.expect(config.recompute == "none" || config.recompute == "attention" || config.recompute == "block",
               "memory.recompute = \"" + config.recompute + "\" is unknown: use \"none\", \"attention\" or \"block\"");
  check.raise();
}

}  // namespace

Graph build_graph(const ModelConfig& config, DType compute, InputSpec& input) {
  check_common(config);
  if (config.name == "mlp") return build_mlp(config, compute, input);
  if (config.name == "convnet") return build_convnet(config, compute, input);
  if (config.name == "gpt") return build_gpt(config, compute, input);
  throw ConfigError("model.name = \"" + config.name + "\" is unknown: use \"mlp\", \"convnet\" or \"gpt\"");
}

Initializer matrix_initializer(const ModelConfig& config, Initializer::Kind automatic, std::int64_t fan_in,
                               std::int64_t fan_out, float gain) {
  Initializer::Kind kind = automatic;
  if (config.initializer == "xavier") kind = Initializer::Kind::kXavier;
  if (config.initializer == "he") kind = Initializer::Kind::kHe;
  if (config.initializer == "normal") kind = Initializer::Kind::kNormal;
  const float scale = kind == Initializer::Kind::kNormal ? kNormalDeviation * gain : gain;
  return {.kind = kind, .scale = scale, .fan_in = fan_in, .fan_out = fan_out};
}

void ConfigCheck::expect(bool holds, const std::string& mistake) {
  if (!holds) mistakes_ += (mistakes_.empty() ? "" : "\n") + mistake;
}

void ConfigCheck::at_least_one(const std::string& key, std::int64_t value) {
  expect(value >= 1, key + " = " + std::to_string(value) + " must be at least 1");
}

void ConfigCheck::raise() const {
  if (!mistakes_.empty()) throw ConfigError(mistakes_);
}

}  // namespace ballast
