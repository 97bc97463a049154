#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "models/model.h"
#include "tests/models/example_models.h"
#include "tests/support/model_run.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> names(const Model& model) {
  std::vector<std::string> all;
  for (const Parameter& p : model.parameters().all()) all.push_back(p.name + p.shape.to_string());
  return all;
}

const Parameter& named(const Model& model, const std::string& name) {
  const int index = model.parameters().find(name);
  if (index < 0) throw Error("no parameter " + name);
  return model.parameters()[index];
}

std::string mistake_in(const ModelConfig& config) {
  try {
    const Model model = build_model(config, DType::kF32, 1);
    return "no mistake";
  } catch (const ConfigError& error) {
    return error.what();
  }
}

TEST(Mlp, HasOneLinearPerLayer) {
  const Model model = build_model(tiny_mlp(), DType::kF32, 2);
  EXPECT_EQ(names(model),
            (std::vector<std::string>{"layers.0.weight[6, 5]", "layers.0.bias[6]", "layers.1.weight[4, 6]",
                                      "layers.1.bias[4]", "layers.2.weight[3, 4]", "layers.2.bias[3]"}));
  EXPECT_EQ(model.input().sample, (Shape{5}));
  EXPECT_EQ(model.input().classes, 3);
  EXPECT_EQ(named(model, "layers.1.weight").initializer.kind, Initializer::Kind::kHe);
  EXPECT_EQ(named(model, "layers.1.weight").initializer.fan_in, 6);
}

TEST(Mlp, NeedsNoHiddenLayer) {
  ModelConfig config = tiny_mlp();
  config.hidden.clear();
  EXPECT_EQ(names(build_model(config, DType::kF32, 2)),
            (std::vector<std::string>{"layers.0.weight[3, 5]", "layers.0.bias[3]"}));
}

TEST(Convnet, IsResNet20AtItsDefaults) {
  ModelConfig config;
  config.name = "convnet";
  config.image_rows = config.image_columns = 32;
  config.image_channels = 3;
  const Model model = build_model(config, DType::kF32, 2);
  // 432 + 9 * 2304 + ... : 21 convolutions with their norms, and 64 x 10 + 10, as the same network in PyTorch counts.
  EXPECT_EQ(model.parameters().trained_elements(), 272474);
  EXPECT_EQ(named(model, "stages.1.blocks.0.skip.conv.weight").shape, (Shape{32, 16, 1, 1}));
  EXPECT_EQ(model.parameters().find("stages.0.blocks.0.skip.conv.weight"), -1);
  EXPECT_EQ(named(model, "stages.2.blocks.2.bn2.running_variance").kind, ParameterKind::kStatistic);
  EXPECT_EQ(named(model, "stages.2.blocks.2.bn2.running_variance").initializer.scale, 1.0F);
  EXPECT_EQ(named(model, "stem.bn.running_mean").initializer.scale, 0.0F);
  EXPECT_EQ(named(model, "stem.conv.weight").initializer.fan_in, 27);
  EXPECT_EQ(named(model, "head.weight").shape, (Shape{10, 64}));
  // 40.8 M multiply-adds forward, as the literature counts; backward costs twice that, less the first layer's data
  // gradient.
  EXPECT_NEAR(model.flops_per_sample(), 3 * 2 * 40.8e6, 0.02 * 3 * 2 * 40.8e6);
}

TEST(Gpt, IsGpt2SmallAtItsSize) {
  ModelConfig config;
  config.name = "gpt";
  config.layers = config.heads = 12;
  config.width = 768;
  config.context = 1024;
  config.vocabulary = 50257;
  const Model model = build_model(config, DType::kBF16, 1);
  EXPECT_EQ(model.parameters().trained_elements(), 124439808);
  EXPECT_EQ(model.input().targets_per_sample, 1024);
  const double per_token = 6.0 * (124439808.0 - 1024 * 768) + 6.0 * 12 * 768 * 1025;
  EXPECT_NEAR(model.flops_per_sample() / 1024, per_token, 0.01 * per_token);
}

TEST(Gpt, NamesItsParametersInForwardOrder) {
  ModelConfig config = tiny_gpt();
  config.layers = 1;
  EXPECT_EQ(
      names(build_model(config, DType::kF32, 1)),
      (std::vector<std::string>{
          "wte.weight[11, 8]", "wpe.weight[6, 8]", "blocks.0.ln_1.weight[8]", "blocks.0.ln_1.bias[8]",
          "blocks.0.attention.qkv.weight[24, 8]", "blocks.0.attention.qkv.bias[24]",
          "blocks.0.attention.proj.weight[8, 8]", "blocks.0.attention.proj.bias[8]", "blocks.0.ln_2.weight[8]",
          "blocks.0.ln_2.bias[8]", "blocks.0.mlp.fc.weight[32, 8]", "blocks.0.mlp.fc.bias[32]",
          "blocks.0.mlp.fc_proj.weight[8, 32]", "blocks.0.mlp.fc_proj.bias[8]", "ln_f.weight[8]", "ln_f.bias[8]"}));
}

TEST(Gpt, StartsAsItsPaperSays) {
  const Model model = build_model(tiny_gpt(), DType::kF32, 1);
  EXPECT_FLOAT_EQ(named(model, "wte.weight").initializer.scale, 0.02F);
  EXPECT_FLOAT_EQ(named(model, "blocks.1.mlp.fc.weight").initializer.scale, 0.02F);
  EXPECT_FLOAT_EQ(named(model, "blocks.1.mlp.fc_proj.weight").initializer.scale, 0.02F / 2.0F);
  EXPECT_FLOAT_EQ(named(model, "blocks.1.attention.proj.weight").initializer.scale, 0.02F / 2.0F);
  EXPECT_FLOAT_EQ(named(model, "blocks.1.ln_2.weight").initializer.scale, 1.0F);
  EXPECT_FLOAT_EQ(named(model, "blocks.1.mlp.fc.bias").initializer.scale, 0.0F);
}

TEST(Models, StartNearTheLossOfGuessing) {
  for (ModelConfig config : {tiny_gpt(), tiny_mlp()}) {
    config.initializer = "normal";
    ReferenceBackend backend;
    ModelRun run(build_model(config, DType::kF32, 4), backend);
    const LossSums sums = run.forward(ExampleBatch(run.model().input(), 4).all());
    const double guess = std::log(static_cast<double>(run.model().input().classes));
    EXPECT_NEAR(sums.loss / static_cast<double>(sums.rows), guess, 0.05) << config.name;
  }
}

TEST(Models, TakeTheInitializerOfTheConfig) {
  ModelConfig config = tiny_mlp();
  for (const auto& [name, kind] :
       {std::pair{"xavier", Initializer::Kind::kXavier}, std::pair{"he", Initializer::Kind::kHe},
        std::pair{"normal", Initializer::Kind::kNormal}}) {
    config.initializer = name;
    EXPECT_EQ(named(build_model(config, DType::kF32, 1), "layers.0.weight").initializer.kind, kind);
    EXPECT_EQ(named(build_model(config, DType::kF32, 1), "layers.0.bias").initializer.kind,
              Initializer::Kind::kConstant);
  }
}

TEST(Models, ReadOnlyMatricesAndFiltersInBf16) {
  for (const ModelConfig& config : {tiny_mlp(), tiny_convnet(), tiny_gpt()}) {
    const Model model = build_model(config, DType::kBF16, 1);
    for (const Parameter& p : model.parameters().all()) {
      EXPECT_EQ(p.compute, p.shape.rank() >= 2 ? DType::kBF16 : DType::kF32) << p.name;
    }
  }
}

TEST(Models, NameTheKeyOfAMistake) {
  ModelConfig config = tiny_gpt();
  config.width = 100;
  config.heads = 3;
  EXPECT_THAT(mistake_in(config), HasSubstr("model.width = 100 is not divisible by model.heads = 3"));
  config = tiny_mlp(1.0F);
  EXPECT_THAT(mistake_in(config), HasSubstr("model.dropout = 1 is not in [0, 1)"));
  config = tiny_mlp();
  config.hidden = {4, 0};
  EXPECT_THAT(mistake_in(config), HasSubstr("model.hidden[1] = 0 must be at least 1"));
  config = tiny_convnet();
  config.channels = {8, 8};
  config.depth = 0;
  EXPECT_THAT(mistake_in(config), HasSubstr("model.channels has 2 numbers"));
  EXPECT_THAT(mistake_in(config), HasSubstr("\nmodel.channels"));
  config = tiny_mlp();
  config.name = "vgg";
  EXPECT_THAT(mistake_in(config), HasSubstr("model.name = \"vgg\" is unknown"));
  config = tiny_mlp();
  config.initializer = "zero";
  EXPECT_THAT(mistake_in(config), HasSubstr("model.initializer = \"zero\" is unknown"));
}

}  // namespace
}  // namespace ballast
