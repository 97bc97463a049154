// Defines: build_graph, the models of the zoo, matrix_initializer, ConfigCheck.
#pragma once

#include <string>

#include "models/graph.h"
#include "models/model.h"
#include "models/model_config.h"

namespace ballast {

/// The graph of the model that `config.name` names, and what it eats. Throws ConfigError with one line for every
/// mistake.
Graph build_graph(const ModelConfig& config, DType compute, InputSpec& input);

/// linear -> ReLU -> dropout for every hidden layer, then linear. Parameters: layers.0.weight, layers.0.bias, ...
Graph build_mlp(const ModelConfig& config, DType compute, InputSpec& input);

/// ResNet for small images (He et al. 2016, section 4.2) with 1x1 projections where the shape changes.
/// Parameters: stem.conv.weight, stem.bn.weight, stages.0.blocks.0.conv1.weight, ..., head.weight, head.bias
Graph build_convnet(const ModelConfig& config, DType compute, InputSpec& input);

/// GPT-2 (Radford et al. 2019). Parameters: wte.weight, wpe.weight, blocks.0.ln_1.weight,
/// blocks.0.attention.qkv.weight, ...
Graph build_gpt(const ModelConfig& config, DType compute, InputSpec& input);

/// How a matrix or filter starts. `automatic` is what "auto" means for the model; `gain` scales whatever is chosen.
Initializer matrix_initializer(const ModelConfig& config, Initializer::Kind automatic, std::int64_t fan_in,
                               std::int64_t fan_out, float gain = 1.0F);

/// Gathers mistakes so that all are reported at once.
class ConfigCheck {
 public:
  void expect(bool holds, const std::string& mistake);
  void at_least_one(const std::string& key, std::int64_t value);
  void raise() const;  ///< throws ConfigError when there was any

 private:
  std::string mistakes_;
};

}  // namespace ballast
