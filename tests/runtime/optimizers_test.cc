// Tests each optimizer against formulas in double precision, written out here by hand. The update that a rule asks for
// is carried out by a small interpreter of compute/update.h, so the tests need no backend.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "runtime/optimizer.h"
#include "tests/runtime/data_files.h"

namespace ballast {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct State {
  double w = 0.7, m = 0.0, v = 0.0;
};

constexpr double kLr = 0.05;
constexpr int kSteps = 6;

double gradient(int step) { return std::sin(1.3 * step) - 0.2; }

double direction(const UpdateRule& r, double g, State& s) {
  const double b1 = r.beta1;
  const double b2 = r.beta2;
  switch (r.kind) {
    case UpdateKind::kSgd:
      return g;
    case UpdateKind::kMomentum:
      return s.m = b1 * s.m + g;
    case UpdateKind::kNesterov:
      s.m = b1 * s.m + g;
      return g + b1 * s.m;
    case UpdateKind::kAdaGrad:
      s.v += g * g;
      return g / (std::sqrt(s.v) + r.epsilon);
    case UpdateKind::kRmsProp:
      s.v = b2 * s.v + (1 - b2) * g * g;
      return g / (std::sqrt(s.v) + r.epsilon);
    case UpdateKind::kAdam:
      s.m = b1 * s.m + (1 - b1) * g;
      s.v = b2 * s.v + (1 - b2) * g * g;
      return s.m * r.correction1 / (std::sqrt(s.v * r.correction2) + r.epsilon);
    default:
      ADD_FAILURE() << "not an optimizer's rule";
      return 0.0;
  }
}

void apply(const UpdateRule& rule, double g, State& s) {
  s.w -= static_cast<double>(rule.lr) * rule.weight_decay * s.w;
  s.w -= static_cast<double>(rule.lr) * direction(rule, g, s);
}

/// Follows `formula(t, gradient, state)` for some steps; the rule is f32, so the last bits may differ.
void expect_follows(const OptimizerSection& config, const std::function<void(int, double, State&)>& formula) {
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config);
  State actual;
  State expected;
  for (int t = 1; t <= kSteps; ++t) {
    apply(optimizer->rule(t, kLr), gradient(t), actual);
    formula(t, gradient(t), expected);
    EXPECT_NEAR(actual.w, expected.w, 1e-6) << config.name << " at step " << t;
  }
}

OptimizerSection named(const std::string& name) {
  OptimizerSection config;
  config.name = name;
  config.weight_decay = name == "adam" ? 0.0 : 0.1;
  return config;
}

TEST(Sgd, FollowsItsFormula) {
  expect_follows(named("sgd"), [](int, double g, State& s) { s.w = s.w * (1 - kLr * 0.1) - kLr * g; });
  EXPECT_THAT(make_optimizer(named("sgd"))->states(), IsEmpty());
}

TEST(Sgd, MomentumFollowsItsFormula) {
  OptimizerSection config = named("sgd");
  config.momentum = 0.9;
  expect_follows(config, [](int, double g, State& s) {
    s.m = 0.9 * s.m + g;
    s.w = s.w * (1 - kLr * 0.1) - kLr * s.m;
  });
  EXPECT_THAT(make_optimizer(config)->states(), ElementsAre("m"));
}

TEST(Sgd, NesterovFollowsItsFormula) {
  OptimizerSection config = named("sgd");
  config.momentum = 0.9;
  config.nesterov = true;
  expect_follows(config, [](int, double g, State& s) {
    s.m = 0.9 * s.m + g;
    s.w = s.w * (1 - kLr * 0.1) - kLr * (g + 0.9 * s.m);
  });
}

TEST(Sgd, RefusesNesterovWithoutMomentum) {
  OptimizerSection config = named("sgd");
  config.nesterov = true;
  EXPECT_THAT(message_of<ConfigError>([&] { (void)make_optimizer(config); }), HasSubstr("optimizer.momentum"));
}

TEST(AdaGrad, FollowsItsFormula) {
  expect_follows(named("adagrad"), [](int, double g, State& s) {
    s.v += g * g;
    s.w = s.w * (1 - kLr * 0.1) - kLr * g / (std::sqrt(s.v) + 1e-8);
  });
  EXPECT_THAT(make_optimizer(named("adagrad"))->states(), ElementsAre("v"));
}

TEST(RmsProp, FollowsItsFormula) {
  OptimizerSection config = named("rmsprop");
  config.decay = 0.8;
  config.epsilon = 1e-3;
  expect_follows(config, [](int, double g, State& s) {
    s.v = 0.8 * s.v + 0.2 * g * g;
    s.w = s.w * (1 - kLr * 0.1) - kLr * g / (std::sqrt(s.v) + 1e-3);
  });
  EXPECT_THAT(make_optimizer(config)->states(), ElementsAre("v"));
}

void adam_step(int t, double g, State& s) {
  s.m = 0.9 * s.m + 0.1 * g;
  s.v = 0.999 * s.v + 0.001 * g * g;
  const double m = s.m / (1 - std::pow(0.9, t));
  const double v = s.v / (1 - std::pow(0.999, t));
  s.w -= kLr * m / (std::sqrt(v) + 1e-8);
}

TEST(Adam, FollowsItsFormula) {
  OptimizerSection config = named("adam");
  config.betas = {0.9, 0.999};
  expect_follows(config, adam_step);
  EXPECT_THAT(make_optimizer(config)->states(), ElementsAre("m", "v"));
}

TEST(Adam, RefusesWeightDecayAndNamesWhatToUse) {
  OptimizerSection config = named("adam");
  config.weight_decay = 0.1;
  EXPECT_THAT(message_of<ConfigError>([&] { (void)make_optimizer(config); }),
              testing::AllOf(HasSubstr("adamw"), HasSubstr("optimizer.l2")));
}

TEST(AdamW, FollowsItsFormula) {
  OptimizerSection config = named("adamw");
  config.betas = {0.9, 0.999};
  expect_follows(config, [](int t, double g, State& s) {
    s.w *= 1 - kLr * 0.1;
    adam_step(t, g, s);
  });
  EXPECT_THAT(make_optimizer(config)->states(), ElementsAre("m", "v"));
}

TEST(AdamW, CorrectionsApproachOneAfterManySteps) {
  const UpdateRule late = make_optimizer(named("adamw"))->rule(100000, kLr);
  EXPECT_FLOAT_EQ(late.correction1, 1.0F);
  EXPECT_FLOAT_EQ(late.correction2, 1.0F);
}

TEST(MakeOptimizer, NamesTheKnownOnesWhenAskedForAnother) {
  EXPECT_THAT(message_of<ConfigError>([] { (void)make_optimizer(named("lion")); }),
              HasSubstr("\"lion\" is unknown; known: sgd, adagrad, rmsprop, adam, adamw"));
}

}  // namespace
}  // namespace ballast
