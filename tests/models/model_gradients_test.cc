// The models of the zoo as wholes, in double precision: gradients, micro-batches, dropout, running statistics, the
// watermark.
#include <gtest/gtest.h>

#include <cmath>

#include "models/model.h"
#include "tests/models/example_models.h"
#include "tests/support/gradient_check.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

constexpr std::int64_t kMaxSamples = 4;

class WholeModel {
 public:
  explicit WholeModel(const ModelConfig& config)
      : run_(build_model(config, DType::kF64, kMaxSamples), backend_), data_(run_.model().input(), kMaxSamples) {
    randomise_values(run_, 3, 0.3);
  }
  ModelRun& run() { return run_; }
  const ExampleBatch& data() { return data_; }

  /// Gradients of forward and backward over consecutive parts of `sizes` samples, added up.
  std::vector<double> gradients_in_parts(const std::vector<std::int64_t>& sizes) {
    run_.zero_gradients();
    std::int64_t first = 0;
    for (const std::int64_t size : sizes) {
      run_.forward(data_.part(first, size));
      run_.backward(data_.part(first, size));
      first += size;
    }
    return run_.gradients();
  }

 private:
  ReferenceBackend backend_;
  ModelRun run_;
  ExampleBatch data_;
};

void expect_equal(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-12 * (1.0 + std::abs(a[i]))) << "element " << i;
}

TEST(ModelGradients, OfTheMlp) {
  WholeModel model(tiny_mlp());
  expect_gradients_match(model.run(), model.data().all());
}

TEST(ModelGradients, OfTheConvnet) {
  WholeModel model(tiny_convnet());
  expect_gradients_match(model.run(), model.data().all(), 12);
}

TEST(ModelGradients, OfTheGpt) {
  WholeModel model(tiny_gpt());
  expect_gradients_match(model.run(), model.data().all(), 12);
}

TEST(ModelGradients, OfAShortBatch) {
  for (const ModelConfig& config : {tiny_mlp(), tiny_convnet(), tiny_gpt()}) {
    WholeModel model(config);
    model.run().forward(model.data().all());  // leaves its numbers in the arena
    expect_gradients_match(model.run(), model.data().part(0, 2), 5);
  }
}

TEST(ModelGradients, WithDropout) {
  for (const ModelConfig& config : {tiny_mlp(0.3F), tiny_gpt(0.2F)}) {
    WholeModel model(config);
    expect_gradients_match(model.run(), model.data().all(), 8);
  }
}

TEST(ModelGradients, OfMicroBatchesAddUpToThoseOfTheWhole) {
  for (const ModelConfig& config : {tiny_mlp(), tiny_gpt(), tiny_mlp(0.3F), tiny_gpt(0.2F)}) {
    WholeModel model(config);
    const auto whole = model.gradients_in_parts({4});
    expect_equal(whole, model.gradients_in_parts({2, 2}));
    expect_equal(whole, model.gradients_in_parts({1, 3}));
  }
}

TEST(ModelGradients, DoNotDependOnTheRoomPlanned) {
  ReferenceBackend backend;
  for (const ModelConfig& config : {tiny_mlp(0.3F), tiny_convnet(), tiny_gpt(0.2F)}) {
    std::vector<std::vector<double>> gradients;
    for (const std::int64_t room : {3, 20}) {
      ModelRun run(build_model(config, DType::kF64, room), backend);
      const ExampleBatch data(run.model().input(), 3);
      run.forward(data.all());
      run.backward(data.all());
      gradients.push_back(run.gradients());
    }
    EXPECT_EQ(gradients[0], gradients[1]) << config.name;
  }
}

TEST(Dropout, IsOffInEvaluationAndChangesWithTheStepBeyond32BitsToo) {
  WholeModel model(tiny_mlp(0.5F)), plain(tiny_mlp());
  Batch batch = model.data().all();
  EXPECT_EQ(model.run().forward(batch, Mode::kEvaluate).loss, plain.run().forward(batch, Mode::kEvaluate).loss);
  const double loss = model.run().forward(batch).loss;
  EXPECT_EQ(model.run().forward(batch).loss, loss);
  for (const std::uint64_t later : {std::uint64_t{1}, std::uint64_t{1} << 32}) {
    batch.step += later;
    EXPECT_NE(model.run().forward(batch).loss, loss);
    batch.step -= later;
  }
}

TEST(RunningStatistics, ReceiveTheStatisticsOfTheBatch) {
  WholeModel model(tiny_convnet());
  ModelRun& run = model.run();
  const Batch batch = model.data().part(0, 3);
  run.zero_gradients();
  run.forward(batch);
  run.backward(batch, 0.5F, 1.0F / 3.0F);
  // All samples of the step in one pass: the "gradient" is the statistic itself. With those as running statistics,
  // evaluation sees what training saw, but for the divisor of the variance: rows - 1 against rows.
  std::vector<double> values = run.values();
  const std::vector<double> gradients = run.gradients();
  for (const Parameter& p : run.table().all()) {
    if (p.kind != ParameterKind::kStatistic) continue;
    const std::int64_t pixels = p.name.find("stages.1") == 0 ? 3 * 3 : p.name.find("stages.2") == 0 ? 2 * 2 : 6 * 5;
    const double rows = 3.0 * static_cast<double>(pixels);
    const double biased = p.name.ends_with("running_variance") ? (rows - 1.0) / rows : 1.0;
    for (std::int64_t i = p.offset; i < p.offset + p.size; ++i)
      values[static_cast<std::size_t>(i)] = gradients[static_cast<std::size_t>(i)] * biased;
  }
  const double trained = run.forward(batch).loss;
  const double before = run.forward(batch, Mode::kEvaluate).loss;
  run.set_values(values);
  EXPECT_NEAR(run.forward(batch, Mode::kEvaluate).loss, trained, 1e-5 * trained);
  EXPECT_GT(std::abs(before - trained), 1e-3 * trained) << "the running statistics made no difference";
}

TEST(Watermark, FallsToZeroAndGradientsAboveItStay) {
  for (const ModelConfig& config : {tiny_mlp(), tiny_convnet(), tiny_gpt()}) {
    WholeModel model(config);
    ModelRun& run = model.run();
    const auto final_gradients = model.gradients_in_parts({4});
    run.zero_gradients();
    run.forward(model.data().all());
    std::int64_t last = run.table().flat_size();
    int calls = 0;
    run.backward(model.data().all(), 0.5F, 0.25F, [&](std::int64_t offset) {
      EXPECT_LT(offset, last);
      last = offset;
      ++calls;
      const auto now = run.gradients();
      for (auto i = static_cast<std::size_t>(offset); i < now.size(); ++i) EXPECT_EQ(now[i], final_gradients[i]) << i;
    });
    EXPECT_EQ(last, 0) << config.name;
    EXPECT_GT(calls, 2) << "nothing could overlap with backward";
  }
}

TEST(Watermark, HoldsTheTiedTableBackUntilTheEnd) {
  WholeModel model(tiny_gpt());
  std::vector<std::int64_t> offsets;
  model.run().forward(model.data().all());
  model.run().backward(model.data().all(), 1.0F, 1.0F, [&](std::int64_t offset) { offsets.push_back(offset); });
  const ParameterTable& table = model.run().table();
  EXPECT_EQ(offsets.front(), table[table.find("ln_f.weight")].offset);
  EXPECT_EQ(offsets.back(), table[table.find("wte.weight")].offset);
  EXPECT_EQ(offsets[offsets.size() - 2], table[table.find("blocks.0.ln_1.weight")].offset);
}

}  // namespace
}  // namespace ballast
