// T = positions, C = width, V = vocabulary.
#include <cmath>

#include "models/zoo/zoo.h"

namespace ballast {
namespace {

constexpr auto kNormal = Initializer::Kind::kNormal;

void check(const ModelConfig& c) {
  ConfigCheck check;
  check.at_least_one("model.layers", c.layers);
  check.at_least_one("model.heads", c.heads);
  check.at_least_one("model.width", c.width);
  check.at_least_one("model.context", c.context);
  check.at_least_one("model.vocabulary", c.vocabulary);
  check.expect(
      c.heads < 1 || c.width % c.heads == 0,
      "model.width = " + std::to_string(c.width) + " is not divisible by model.heads = " + std::to_string(c.heads));
  check.raise();
}

Value linear(Graph& g, Value x, std::int64_t outputs, const std::string& name, const ModelConfig& c,
             float gain = 1.0F) {
  return g.linear(x, outputs, name, matrix_initializer(c, kNormal, g.info(x).shape.last(), outputs, gain));
}

/// Two projections per layer add to the residual stream: scaled down, its variance does not grow with depth.
float residual_gain(const ModelConfig& c) { return 1.0F / std::sqrt(2.0F * static_cast<float>(c.layers)); }

Value attention(Graph& g, Value x_TC, const ModelConfig& c) {
  const NameScope scope(g, "attention");
  const Segment segment(g, c.recompute == "attention");
  const Value y_TC = g.attention(linear(g, x_TC, 3 * c.width, "qkv", c), c.heads);
  return g.dropout(linear(g, y_TC, c.width, "proj", c, residual_gain(c)), c.dropout);
}

Value mlp(Graph& g, Value x_TC, const ModelConfig& c) {
  const NameScope scope(g, "mlp");
  const Initializer initializer = matrix_initializer(c, kNormal, c.width, 4 * c.width, 1.0F);
  const Value hidden = g.linear_gelu(x_TC, 4 * c.width, "fc", initializer);
  return g.dropout(linear(g, hidden, c.width, "fc_proj", c, residual_gain(c)), c.dropout);
}

Value block(Graph& g, Value x_TC, const ModelConfig& c) {
  const Segment segment(g, c.recompute == "block");
  x_TC = g.add(x_TC, attention(g, g.layer_norm(x_TC, "ln_1"), c));
  return g.add(x_TC, mlp(g, g.layer_norm(x_TC, "ln_2"), c));
}

}  // namespace

Graph build_gpt(const ModelConfig& c, DType compute, InputSpec& input) {
  check(c);
  input = {.kind = InputSpec::Kind::kTokens,
           .sample = {c.context},
           .targets_per_sample = c.context,
           .classes = c.vocabulary};
  Graph g(compute);
  // Tables are looked up, not multiplied: no fan-in, so they start normal whatever the initializer of matrices.
  const Initializer table{.kind = kNormal, .scale = 0.02F};
  const int wte = g.parameter("wte.weight", {c.vocabulary, c.width}, table);
  const int wpe = g.parameter("wpe.weight", {c.context, c.width}, table);
  Value x_TC = g.dropout(g.embedding(g.tokens(c.context), wte, wpe), c.dropout);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const NameScope scope(g, "blocks." + std::to_string(i));
    x_TC = block(g, x_TC, c);
  }
  g.linear_cross_entropy(g.layer_norm(x_TC, "ln_f"), wte, g.targets(c.context), "head");
  return g;
}

}  // namespace ballast
