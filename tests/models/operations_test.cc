// Every operation inside a small graph, checked by finite differences: all samples of the plan, and fewer.
#include "models/operations/operations.h"

#include <gtest/gtest.h>

#include <functional>

#include "models/planned_graph.h"
#include "tests/support/gradient_check.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

using Body = std::function<Value(Graph&, Value)>;

constexpr std::int64_t kMaxSamples = 4;
const Initializer kNormal{Initializer::Kind::kNormal, 0.5F, 0, 0};

/// Features -> linear -> body -> linear -> loss.
Model on_vectors(const Body& body, std::int64_t width = 6) {
  const InputSpec input{.kind = InputSpec::Kind::kFeatures, .sample = {3}, .targets_per_sample = 1, .classes = 4};
  Graph g(DType::kF64);
  const Value y = body(g, g.linear(g.features({3}), width, "first", kNormal));
  g.cross_entropy(g.linear(y, 4, "last", kNormal), g.targets(1));
  return {std::make_unique<PlannedGraph>(std::move(g), kMaxSamples), input};
}

/// Image -> convolution -> body -> average pool -> linear -> loss.
Model on_images(const Body& body) {
  const InputSpec input{.kind = InputSpec::Kind::kFeatures, .sample = {5, 4, 2}, .targets_per_sample = 1, .classes = 4};
  Graph g(DType::kF64);
  const Value y = body(g, g.convolution(g.features({5, 4, 2}), 3, 3, 1, "first", kNormal));
  g.cross_entropy(g.linear(g.average_pool(y), 4, "last", kNormal), g.targets(1));
  return {std::make_unique<PlannedGraph>(std::move(g), kMaxSamples), input};
}

/// Tokens -> embedding -> body -> loss with tied head, whose logits exist four rows at a time: blocks that end within
/// samples of five.
Model on_tokens(const Body& body) {
  const InputSpec input{.kind = InputSpec::Kind::kTokens, .sample = {5}, .targets_per_sample = 5, .classes = 7};
  Graph g(DType::kF64);
  const int tokens = g.parameter("tokens", {7, 4}, kNormal), positions = g.parameter("positions", {5, 4}, kNormal);
  const Value y = body(g, g.embedding(g.tokens(5), tokens, positions));
  g.linear_cross_entropy(y, tokens, g.targets(5), "head", /*most_rows=*/4);
  return {std::make_unique<PlannedGraph>(std::move(g), kMaxSamples), input};
}

void check(Model model) {
  ReferenceBackend backend;
  ModelRun run(std::move(model), backend);
  randomise_values(run, 11);
  const ExampleBatch data(run.model().input(), kMaxSamples);
  expect_gradients_match(run, data.all());
  expect_gradients_match(run, data.part(1, 3));
}

Value same(Graph& /*g*/, Value x) { return x; }

TEST(Gradients, OfLinear) { check(on_vectors(same)); }

TEST(Gradients, OfLinearWithGelu) {
  check(on_vectors([](Graph& g, Value x) { return g.linear_gelu(x, 3, "with_gelu", kNormal); }));
}

TEST(Gradients, OfRelu) {
  check(on_vectors([](Graph& g, Value x) { return g.relu(x); }));
}

TEST(Gradients, OfGelu) {
  check(on_vectors([](Graph& g, Value x) { return g.gelu(x); }));
}

TEST(Gradients, OfLayerNorm) {
  check(on_vectors([](Graph& g, Value x) { return g.layer_norm(x, "norm"); }));
}

TEST(Gradients, OfLayerNormOfData) {
  const InputSpec input{.kind = InputSpec::Kind::kFeatures, .sample = {5}, .targets_per_sample = 1, .classes = 4};
  Graph g(DType::kF64);
  g.cross_entropy(g.linear(g.layer_norm(g.features({5}), "norm"), 4, "last", kNormal), g.targets(1));
  check({std::make_unique<PlannedGraph>(std::move(g), kMaxSamples), input});
}

TEST(Gradients, OfBatchNorm) {
  check(on_vectors([](Graph& g, Value x) { return g.batch_norm(x, "norm"); }));
}

TEST(Gradients, OfDropoutWithItsMaskFixedByItsKey) {
  check(on_vectors([](Graph& g, Value x) { return g.dropout(x, 0.4F); }));
}

TEST(Gradients, OfAdd) {
  check(
      on_vectors([](Graph& g, Value x) { return g.add(g.linear(x, 6, "a", kNormal), g.linear(x, 6, "b", kNormal)); }));
}

TEST(Gradients, OfAValueAddedToItself) {
  check(on_vectors([](Graph& g, Value x) { return g.add(x, x); }));
}

TEST(Gradients, OfAResidualReadBeforeAndAfterItsBranch) {
  check(on_vectors([](Graph& g, Value x) {
    const Value y = g.add(x, g.linear(g.layer_norm(x, "norm"), 6, "branch", kNormal));
    return g.add(g.relu(y), g.add(y, x));
  }));
}

TEST(Gradients, OfAnActivationAddedToItsInput) {
  check(on_vectors([](Graph& g, Value x) { return g.add(g.relu(x), x); }));
  check(on_vectors([](Graph& g, Value x) { return g.add(g.layer_norm(x, "norm"), x); }));
  check(on_vectors([](Graph& g, Value x) { return g.add(x, g.dropout(x, 0.3F)); }));
}

TEST(Gradients, OfConvolution) {
  check(on_images([](Graph& g, Value x) { return g.convolution(x, 2, 3, 1, "conv", kNormal); }));
}

TEST(Gradients, OfStridedConvolution) {
  check(on_images([](Graph& g, Value x) { return g.convolution(x, 2, 3, 2, "conv", kNormal); }));
}

TEST(Gradients, OfStridedProjection) {
  check(on_images([](Graph& g, Value x) { return g.convolution(x, 5, 1, 2, "conv", kNormal); }));
}

TEST(Gradients, OfBatchNormOfImages) {
  check(on_images([](Graph& g, Value x) { return g.relu(g.batch_norm(x, "norm")); }));
}

TEST(Gradients, OfBatchNormWithARelu) {
  check(on_images([](Graph& g, Value x) { return g.batch_norm_relu(x, "norm"); }));
}

TEST(Gradients, OfBatchNormWithASkipAndARelu) {
  check(on_images([](Graph& g, Value x) {
    return g.batch_norm_add_relu(g.convolution(x, 3, 3, 1, "conv", kNormal), x, g.batch_norm_parameters(x, "norm"));
  }));
  check(on_vectors([](Graph& g, Value x) {
    return g.batch_norm_add_relu(x, g.linear(x, 6, "skip", kNormal), g.batch_norm_parameters(x, "norm"));
  }));
  check(on_vectors([](Graph& g, Value x) { return g.batch_norm_add_relu(x, x, g.batch_norm_parameters(x, "norm")); }));
}

TEST(Gradients, OfAveragePool) { check(on_images(same)); }

TEST(Gradients, OfEmbeddingAndATiedHead) { check(on_tokens(same)); }

TEST(Gradients, OfAttention) {
  check(on_tokens([](Graph& g, Value x) { return g.attention(g.linear(x, 12, "qkv", kNormal), 2); }));
}

TEST(Operations, RefuseShapesThatDoNotFit) {
  EXPECT_THROW(add_operation({2}, {3}), Error);
  EXPECT_THROW(attention_operation({4, 12}, 5), Error);
  EXPECT_THROW(average_pool_operation({4, 12}), Error);
  EXPECT_THROW(convolution_operation({4}, 1, 3, 1), Error);
  EXPECT_THROW(cross_entropy_operation({5, 3}, {4}), Error);
  EXPECT_THROW(embedding_operation({4}, {10, 3}, {5, 3}), Error);
  EXPECT_THROW(linear_operation({}, 2, LinearTail::kNone), Error);
}

TEST(Operations, FollowTheirShapeRules) {
  EXPECT_EQ(linear_operation({4, 3}, 7, LinearTail::kNone)->output(), (Shape{4, 7}));
  EXPECT_EQ(convolution_operation({7, 6, 2}, 5, 3, 2)->output(), (Shape{4, 3, 5}));
  EXPECT_EQ(convolution_operation({7, 6, 2}, 5, 1, 2)->output(), (Shape{4, 3, 5}));
  EXPECT_EQ(attention_operation({8, 12}, 2)->output(), (Shape{8, 4}));
  EXPECT_EQ(average_pool_operation({7, 6, 5})->output(), (Shape{5}));
  EXPECT_EQ(embedding_operation({8}, {10, 3}, {8, 3})->output(), (Shape{8, 3}));
}

}  // namespace
}  // namespace ballast
