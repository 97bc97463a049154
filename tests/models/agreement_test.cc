// The models on any backend against the double-precision reference, from the same values.
#include <gtest/gtest.h>

#include <cmath>

#include "models/model.h"
#include "tests/models/example_models.h"
#include "tests/support/emulated_graphs.h"
#include "tests/support/model_run.h"
#include "tests/support/reference_backend.h"
#include "tests/support/tested_backend.h"

namespace ballast {
namespace {

struct Outcome {
  LossSums loss;
  std::vector<double> gradients;
};

ModelConfig small(const std::string& name) {
  if (name == "mlp") {
    ModelConfig config = tiny_mlp(0.1F);
    config.features = 50;
    config.hidden = {64, 33};
    config.classes = 10;
    return config;
  }
  if (name == "convnet") {
    ModelConfig config = tiny_convnet();
    config.image_rows = 12;
    config.image_columns = 9;
    config.image_channels = 3;
    config.channels = {8, 16, 16};
    return config;
  }
  ModelConfig config = tiny_gpt(0.1F);
  config.width = 32;
  config.context = 20;
  config.vocabulary = 50;
  return config;
}

/// Of the last of `passes` equal ones.
Outcome outcome_of(const ModelConfig& config, DType compute, Backend& backend, std::int64_t samples, int passes) {
  ModelRun run(build_model(config, compute, 6), backend);
  const ExampleBatch data(run.model().input(), samples);
  Outcome outcome;
  for (int pass = 0; pass < passes; ++pass) {
    run.zero_gradients();
    outcome.loss = run.forward(data.all());
    run.backward(data.all(), 1.0F / static_cast<float>(outcome.loss.rows), 1.0F / static_cast<float>(samples));
  }
  outcome.gradients = run.gradients();
  return outcome;
}

// The first pass warms a device up, the second is captured as graphs, the third updates them.
constexpr int kPassesOfADevice = 3;

/// |a - b| / |b| over one parameter.
double distance(const Parameter& p, const Outcome& a, const Outcome& b) {
  double difference = 0.0, norm = 0.0;
  for (auto i = static_cast<std::size_t>(p.offset); i < static_cast<std::size_t>(p.offset + p.size); ++i) {
    difference += std::pow(a.gradients[i] - b.gradients[i], 2);
    norm += std::pow(b.gradients[i], 2);
  }
  return std::sqrt(difference / (norm + 1e-12));
}

class Agreement : public ::testing::TestWithParam<const char*> {};

TEST_P(Agreement, InF32) {
  const ModelConfig config = small(GetParam());
  ReferenceBackend reference;
  const auto backend = backend_under_test();
  for (const std::int64_t samples : {6, 5, 1}) {
    const Outcome want = outcome_of(config, DType::kF64, reference, samples, 1);
    const auto before = emulated_graphs();
    const Outcome got = outcome_of(config, DType::kF32, *backend, samples, kPassesOfADevice);
    if (before) {
      EXPECT_GE(emulated_graphs()->launched - before->launched, 4) << "forward and backward, twice";
    }
    EXPECT_EQ(got.loss.rows, want.loss.rows);
    EXPECT_NEAR(got.loss.loss, want.loss.loss, 1e-4 * want.loss.loss);
    // One sample of the last stage is a batch of a few pixels: normalising those magnifies the rounding.
    const double tolerance = samples == 1 && config.name == "convnet" ? 1e-3 : 1e-4;
    const Model model = build_model(config, DType::kF32, 1);
    for (const Parameter& p : model.parameters().all()) {
      EXPECT_LT(distance(p, got, want), tolerance) << p.name << ", " << samples << " samples";
    }
  }
}

// Rounding activations to bf16 costs a deep network a good part of its first gradients, whoever computes: the backend
// may lose no more than the reference does when it stores bf16.
TEST_P(Agreement, InBf16AsCloselyAsBf16Allows) {
  const ModelConfig config = small(GetParam());
  ReferenceBackend reference;
  const auto backend = backend_under_test();
  const Outcome want = outcome_of(config, DType::kF64, reference, 6, 1);
  const Outcome rounded = outcome_of(config, DType::kBF16, reference, 6, 1);
  const Outcome got = outcome_of(config, DType::kBF16, *backend, 6, kPassesOfADevice);
  EXPECT_NEAR(got.loss.loss, want.loss.loss, 2e-2 * want.loss.loss);
  const Model model = build_model(config, DType::kF32, 1);
  for (const Parameter& p : model.parameters().all()) {
    EXPECT_LT(distance(p, got, want), 1.5 * distance(p, rounded, want) + 0.02) << p.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Agreement, ::testing::Values("mlp", "convnet", "gpt"),
                         [](const auto& model) { return std::string(model.param); });

}  // namespace
}  // namespace ballast
