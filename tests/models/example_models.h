// Defines: tiny_mlp, tiny_convnet, tiny_gpt: each model of the zoo at a size that a finite-difference check can afford.
#pragma once

#include "models/model_config.h"

namespace ballast {

inline ModelConfig tiny_mlp(float dropout = 0.0F) {
  ModelConfig config;
  config.name = "mlp";
  config.features = 5;
  config.hidden = {6, 4};
  config.classes = 3;
  config.dropout = dropout;
  return config;
}

inline ModelConfig tiny_convnet() {
  ModelConfig config;
  config.name = "convnet";
  config.image_rows = 6;
  config.image_columns = 5;
  config.image_channels = 2;
  config.channels = {3, 4, 3};
  config.depth = 1;
  config.classes = 3;
  return config;
}

inline ModelConfig tiny_gpt(float dropout = 0.0F) {
  ModelConfig config;
  config.name = "gpt";
  config.layers = 2;
  config.heads = 2;
  config.width = 8;
  config.context = 6;
  config.vocabulary = 11;
  config.dropout = dropout;
  return config;
}

}  // namespace ballast
