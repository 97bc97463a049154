#include "models/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/models/example_models.h"
#include "tests/support/model_run.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

class AGpt : public ::testing::Test {
 protected:
  ReferenceBackend backend_;
  ModelRun run_{build_model(tiny_gpt(), DType::kF32, 3), backend_};
  ExampleBatch data_{run_.model().input(), 3};

  std::string refusal_of(const Batch& batch) {
    try {
      run_.forward(batch);
      return "accepted";
    } catch (const Error& error) {
      return error.what();
    }
  }
};

TEST_F(AGpt, RefusesBatchesOfOtherSizes) {
  Batch batch = data_.all();
  batch.samples = 4;
  EXPECT_THAT(refusal_of(batch), HasSubstr("4 samples, but the model is planned for 1 to 3"));
  batch.samples = 0;
  EXPECT_THAT(refusal_of(batch), HasSubstr("0 samples"));
  batch = data_.all();
  batch.tokens = batch.tokens.first(7);
  EXPECT_THAT(refusal_of(batch), HasSubstr("7 tokens for 3 samples of 6 each"));
  batch = data_.all();
  batch.targets = {};
  EXPECT_THAT(refusal_of(batch), HasSubstr("0 targets"));
}

TEST_F(AGpt, RefusesTokensAndTargetsOutsideItsVocabulary) {
  std::vector<std::int32_t> numbers(18, 2);
  Batch batch = data_.all();
  numbers[7] = 11;
  batch.tokens = numbers;
  EXPECT_THAT(refusal_of(batch), HasSubstr("token 11 of sample 1"));
  batch.tokens = data_.all().tokens;
  batch.targets = numbers;
  EXPECT_THAT(refusal_of(batch), HasSubstr("target 11 of sample 1"));
  numbers[7] = -1;
  EXPECT_EQ(refusal_of(batch), "accepted");
  batch.tokens = numbers;
  EXPECT_THAT(refusal_of(batch), HasSubstr("token -1"));
}

TEST_F(AGpt, GivesTheLogitsItsLossCameFrom) {
  const LossSums sums = run_.forward(data_.all(), Mode::kEvaluate);
  const std::vector<std::int64_t> rows = {17, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  std::vector<float> logits(rows.size() * 11);
  run_.model().download_logits(rows, logits);
  double loss = 0.0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int32_t target = data_.all().targets[static_cast<std::size_t>(rows[i])];
    if (target < 0) continue;
    double sum = 0.0;
    for (std::size_t v = 0; v < 11; ++v) sum += std::exp(static_cast<double>(logits[i * 11 + v]));
    loss += std::log(sum) - static_cast<double>(logits[i * 11 + static_cast<std::size_t>(target)]);
  }
  EXPECT_NEAR(loss, sums.loss, 1e-5);
}

TEST_F(AGpt, GivesLogitsOnlyWhileItHoldsThem) {
  std::vector<float> logits(11);
  const std::vector<std::int64_t> row = {0}, beyond = {18};
  EXPECT_THROW(run_.model().download_logits(row, logits), Error);
  run_.forward(data_.all());
  EXPECT_NO_THROW(run_.model().download_logits(row, logits));
  EXPECT_THROW(run_.model().download_logits(beyond, logits), Error);
  run_.backward(data_.all());
  EXPECT_THROW(run_.model().download_logits(row, logits), Error);
}

TEST_F(AGpt, GivesTheSameInOnePassAsInTwo) {
  const LossSums apart = run_.forward(data_.all());
  run_.backward(data_.all(), 0.5F);
  const std::vector<double> gradients = run_.gradients();
  run_.zero_gradients();
  bool forward_done = false;
  const LossSums together = run_.forward_backward(data_.all(), 0.5F, [&] { forward_done = true; });
  EXPECT_TRUE(forward_done);
  EXPECT_EQ(together.loss, apart.loss);
  EXPECT_EQ(together.rows, apart.rows);
  EXPECT_EQ(together.correct, apart.correct);
  EXPECT_EQ(run_.gradients(), gradients);
}

TEST(Model, KeepsLogitsOfOneBlockOfRows) {
  const auto arena = [](std::int64_t samples) {
    return build_model({.name = "gpt", .layers = 1, .heads = 1, .width = 8, .context = 64, .vocabulary = 50000},
                       DType::kF32, samples)
        .arena_bytes();
  };
  const std::int64_t logits_of_a_sample = 64 * 50000 * 4;
  EXPECT_GT(arena(2), 2 * logits_of_a_sample);
  EXPECT_LT(arena(100), 7 * logits_of_a_sample);
}

TEST_F(AGpt, RunsBackwardOnlyAfterTraining) {
  EXPECT_THROW(run_.backward(data_.all()), Error);
  run_.forward(data_.all(), Mode::kEvaluate);
  EXPECT_THROW(run_.backward(data_.all()), Error);
  run_.forward(data_.all());
  EXPECT_THROW(run_.backward(data_.part(0, 2)), Error);
  run_.forward(data_.all());
  EXPECT_NO_THROW(run_.backward(data_.all()));
}

TEST(Model, DownloadsLogitsOfBf16ModelsAsF32) {
  ReferenceBackend backend;
  ModelRun wide(build_model(tiny_mlp(), DType::kF32, 2), backend),
      narrow(build_model(tiny_mlp(), DType::kBF16, 2), backend);
  const ExampleBatch data(wide.model().input(), 2);
  std::vector<float> a(3), b(3);
  const std::vector<std::int64_t> row = {1};
  wide.forward(data.all(), Mode::kEvaluate);
  wide.model().download_logits(row, a);
  narrow.forward(data.all(), Mode::kEvaluate);
  narrow.model().download_logits(row, b);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(a[i], b[i], 0.03F * (1.0F + std::abs(a[i])));
}

TEST(Model, KnowsItsArenaBeforeItIsTaken) {
  ModelConfig config = tiny_gpt();
  const Model small = build_model(config, DType::kF32, 2), large = build_model(config, DType::kF32, 64);
  EXPECT_GT(small.arena_bytes(), 0);
  EXPECT_EQ(small.arena_bytes() % 64, 0);
  EXPECT_GT(large.arena_bytes(), 20 * small.arena_bytes());
  EXPECT_LT(build_model(config, DType::kBF16, 64).arena_bytes(), large.arena_bytes());
}

TEST(Model, SummarisesOneOperationPerLine) {
  const Model model = build_model(tiny_mlp(), DType::kF32, 2);
  const std::string text = model.summary();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 7);
  EXPECT_THAT(text, HasSubstr("layers.1"));
  EXPECT_THAT(text, HasSubstr("[4]"));
  EXPECT_THAT(text, HasSubstr("28\n")) << "4 x 6 weights and 4 biases";
}

TEST(Model, CountsTheWorkOfItsProducts) {
  // Forward and the gradients of weights for three layers; the gradient of the input for all but the first.
  EXPECT_EQ(build_model(tiny_mlp(), DType::kF32, 2).flops_per_sample(), 2.0 * (3 * (6 * 5 + 4 * 6 + 3 * 4) - 6 * 5));
}

/// Gradients of one pass over memory that held `before`.
std::vector<double> gradients_of_a_pass(const ModelConfig& config, double before, bool fresh) {
  ReferenceBackend backend;
  ModelRun run(build_model(config, DType::kF32, 3), backend);
  const ExampleBatch data(run.model().input(), 3);
  run.set_gradients(before);
  run.model().forward_backward(data.all(), run.memory(fresh), 0.5F, 0.25F, {});
  return run.gradients();
}

TEST(AFreshPass, BeginsEveryGradientWhateverTheMemoryHeld) {
  for (const ModelConfig& config : {tiny_gpt(), tiny_mlp(), tiny_convnet()}) {
    const std::vector<double> cleared = gradients_of_a_pass(config, 0.0, /*fresh=*/false);
    const std::vector<double> fresh = gradients_of_a_pass(config, std::nan(""), /*fresh=*/true);
    const Model model = build_model(config, DType::kF32, 1);
    for (const Parameter& p : model.parameters().all()) {
      for (auto i = static_cast<std::size_t>(p.offset); i < static_cast<std::size_t>(p.offset + p.size); ++i) {
        ASSERT_EQ(fresh[i], cleared[i]) << config.name << ' ' << p.name << ", element " << i - p.offset;
      }
    }
  }
}

}  // namespace
}  // namespace ballast
