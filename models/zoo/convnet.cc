// Y, X = image rows and columns, I / O = input / output channels.
#include "models/zoo/zoo.h"

namespace ballast {
namespace {

constexpr std::size_t kStages = 3;

void check(const ModelConfig& c) {
  ConfigCheck check;
  check.at_least_one("model.image_rows", c.image_rows);
  check.at_least_one("model.image_columns", c.image_columns);
  check.at_least_one("model.image_channels", c.image_channels);
  check.at_least_one("model.depth", c.depth);
  check.at_least_one("model.classes", c.classes);
  check.expect(c.channels.size() == kStages, "model.channels has " + std::to_string(c.channels.size()) +
                                                 " numbers: give one for each of the 3 stages");
  for (std::size_t i = 0; i < c.channels.size(); ++i) {
    check.at_least_one("model.channels[" + std::to_string(i) + "]", c.channels[i]);
  }
  check.raise();
}

/// Without bias: that of the batch norm behind it replaces it.
Value convolve(Graph& g, Value x_YXI, std::int64_t outputs, std::int64_t kernel, std::int64_t stride,
               const std::string& name, const ModelConfig& c) {
  const std::int64_t pixels = kernel * kernel;
  const auto weights =
      matrix_initializer(c, Initializer::Kind::kHe, pixels * g.info(x_YXI).shape.last(), pixels * outputs);
  return g.convolution(x_YXI, outputs, kernel, stride, name, weights);
}

/// relu(bn(conv(relu(bn(conv(x))))) + skip(x)); the skip is a projection where the shape changes.
Value block(Graph& g, Value x_YXI, std::int64_t outputs, std::int64_t stride, const ModelConfig& c) {
  const Segment segment(g, c.recompute == "block");
  Value y_YXO = g.batch_norm_relu(convolve(g, x_YXI, outputs, 3, stride, "conv1", c), "bn1");
  y_YXO = convolve(g, y_YXO, outputs, 3, 1, "conv2", c);
  // Declared before those of the skip, whose operations come first: the order of the parameters is that of the files.
  const BatchNormParameters bn2 = g.batch_norm_parameters(y_YXO, "bn2");
  Value skip_YXO = x_YXI;
  if (stride != 1 || g.info(x_YXI).shape.last() != outputs) {
    skip_YXO = g.batch_norm(convolve(g, x_YXI, outputs, 1, stride, "skip.conv", c), "skip.bn");
  }
  return g.batch_norm_add_relu(y_YXO, skip_YXO, bn2);
}

}  // namespace

Graph build_convnet(const ModelConfig& c, DType compute, InputSpec& input) {
  check(c);
  input = {.kind = InputSpec::Kind::kFeatures,
           .sample = {c.image_rows, c.image_columns, c.image_channels},
           .targets_per_sample = 1,
           .classes = c.classes};
  Graph g(compute);
  Value x_YXO =
      g.batch_norm_relu(convolve(g, g.features(input.sample), c.channels[0], 3, 1, "stem.conv", c), "stem.bn");
  for (std::size_t stage = 0; stage < kStages; ++stage) {
    for (std::int64_t i = 0; i < c.depth; ++i) {
      const NameScope scope(g, "stages." + std::to_string(stage) + ".blocks." + std::to_string(i));
      x_YXO = block(g, x_YXO, c.channels[stage], stage > 0 && i == 0 ? 2 : 1, c);
    }
  }
  const Value features_O = g.dropout(g.average_pool(x_YXO), c.dropout);
  const auto weights = matrix_initializer(c, Initializer::Kind::kHe, c.channels.back(), c.classes);
  g.cross_entropy(g.linear(features_O, c.classes, "head", weights), g.targets(1));
  return g;
}

}  // namespace ballast
