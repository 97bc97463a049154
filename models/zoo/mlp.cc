// F = features, I / O = inputs / outputs of a layer.
#include "models/zoo/zoo.h"

namespace ballast {
namespace {

void check(const ModelConfig& c) {
  ConfigCheck check;
  check.at_least_one("model.features", c.features);
  check.at_least_one("model.classes", c.classes);
  for (std::size_t i = 0; i < c.hidden.size(); ++i) {
    check.at_least_one("model.hidden[" + std::to_string(i) + "]", c.hidden[i]);
  }
  check.raise();
}

Value layer(Graph& g, Value x_I, std::int64_t outputs, std::size_t number, const ModelConfig& c) {
  const auto weights = matrix_initializer(c, Initializer::Kind::kHe, g.info(x_I).shape.last(), outputs);
  return g.linear(x_I, outputs, "layers." + std::to_string(number), weights);
}

}  // namespace

Graph build_mlp(const ModelConfig& c, DType compute, InputSpec& input) {
  check(c);
  input = {.kind = InputSpec::Kind::kFeatures, .sample = {c.features}, .targets_per_sample = 1, .classes = c.classes};
  Graph g(compute);
  Value x_F = g.features(input.sample);
  for (std::size_t i = 0; i < c.hidden.size(); ++i)
    x_F = g.dropout(g.relu(layer(g, x_F, c.hidden[i], i, c)), c.dropout);
  g.cross_entropy(layer(g, x_F, c.classes, c.hidden.size(), c), g.targets(1));
  return g;
}

}  // namespace ballast
