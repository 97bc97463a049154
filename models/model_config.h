// Defines: ModelConfig: everything that decides the shapes of a model. Keys of [model] in a job file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ballast {

struct ModelConfig {
  std::string name = "mlp";  ///< "mlp" | "convnet" | "gpt"
  float dropout = 0.0F;
  std::string initializer = "auto";  ///< "auto" (what the model's paper uses) | "xavier" | "he" | "normal"
  /// Key memory.recompute. What is computed again in backward instead of kept: "none", "attention" (gpt), "block" (gpt,
  /// convnet). Changes memory and time, never results.
  std::string recompute = "none";

  // mlp: features -> hidden[0] -> ... -> classes, ReLU between
  std::int64_t features = 784;
  std::vector<std::int64_t> hidden = {256};
  std::int64_t classes = 10;

  // convnet: ResNet for small images (He et al. 2016, section 4.2): `depth` blocks in each of three stages of
  // channels[0..2]; depth 3 and channels 16, 32, 64 is ResNet-20
  std::int64_t image_rows = 28, image_columns = 28, image_channels = 1;
  std::vector<std::int64_t> channels = {16, 32, 64};
  std::int64_t depth = 3;

  // gpt: GPT-2 (Radford et al. 2019)
  std::int64_t layers = 4, heads = 4, width = 128, context = 128, vocabulary = 256;
};

}  // namespace ballast
