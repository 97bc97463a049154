// Groups of shards that train copies of their own, in whole jobs and one exchange at a time.
#include "runtime/outer_training.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/runtime/small_jobs.h"

namespace ballast {
namespace {

class OuterTrainingTest : public TrainerTest {
 protected:
  /// 64 samples in batches of 16: no short ones, where groups would differ in size.
  [[nodiscard]] JobConfig even_job(const std::string& name) const {
    JobConfig config = job(name);
    config.data.fraction = 0.0;
    config.batch = {.size = 16, .shards = 4};
    config.optimizer = {.name = "sgd", .lr = 0.1};
    config.model.dropout = 0.0F;
    return config;
  }
};

TEST_F(OuterTrainingTest, WithOneStepAndPlainSgdOutsideIsSynchronousTraining) {
  Recorder together;
  const JobConfig synchronous = even_job("together");
  run(synchronous, 1, together);
  for (const std::int64_t groups : {1, 2, 4}) {
    JobConfig config = even_job("apart" + std::to_string(groups));
    config.comm.groups = groups;
    config.outer = {.every = 1, .lr = 1.0, .momentum = 0.0};
    Recorder apart;
    run(config, 2, apart);
    ASSERT_EQ(apart.losses.size(), together.losses.size());
    for (std::size_t i = 0; i < apart.losses.size(); ++i) EXPECT_NEAR(apart.losses[i], together.losses[i], 2e-6);
    EXPECT_LT(apart.losses.back(), apart.losses.front());
  }
}

/// An exchange in two fragments, each three of four steps on its way, with codes whose errors last.
OuterSection slow_exchange() { return {.every = 4, .fragments = 2, .delay = 3, .merge = 0.5}; }

class OuterTrainingWith : public OuterTrainingTest, public testing::WithParamInterface<const char*> {
 protected:
  [[nodiscard]] JobConfig apart(const std::string& name) const {
    JobConfig config = job(name);
    config.job.steps = 13;
    config.comm.groups = 2;
    config.comm.compression = GetParam();
    config.outer = slow_exchange();
    config.evaluate.every = 5;
    return config;
  }
};

TEST_P(OuterTrainingWith, GivesTheSameBitsOnAnyNumberOfWorkers) {
  const JobConfig alone = apart("alone");
  Recorder one;
  run(alone, 1, one);
  ASSERT_EQ(one.losses.size(), 13U);
  for (const int workers : {2, 3, 4}) {
    const JobConfig config = apart("w" + std::to_string(workers));
    Recorder several;
    run(config, workers, several);
    EXPECT_EQ(several.losses, one.losses) << workers << " workers";
    EXPECT_EQ(several.evaluations, one.evaluations) << workers << " workers";
    EXPECT_EQ(digest(config, 13), digest(alone, 13)) << workers << " workers";
  }
}

/// Ends the job in the middle of a step's report.
class Striker final : public Recorder {
 public:
  explicit Striker(std::int64_t step) : step_(step) {}
  void on_step(const StepReport& report) override {
    if (report.step == step_) throw Error("struck");
  }

 private:
  std::int64_t step_;
};

TEST_P(OuterTrainingWith, StruckAtAnyStepEndsWithTheSameBitsOnOtherWorkers) {
  const JobConfig whole = apart("whole");
  Recorder undisturbed;
  run(whole, 2, undisturbed);
  JobConfig config = apart("struck");
  config.checkpoint = {.every_steps = 1, .keep = 20, .background = false};
  for (int step = 2; step <= 13; ++step) {
    Striker striker(step);
    EXPECT_THROW(run(config, step % 4 + 1, striker), Error);
  }
  Recorder last;
  run(config, 3, last);
  EXPECT_EQ(last.losses.back(), undisturbed.losses.back());
  EXPECT_EQ(digest(config, 13), digest(whole, 13));
}

INSTANTIATE_TEST_SUITE_P(Compressions, OuterTrainingWith, testing::Values("none", "int8", "topk"));

TEST_F(OuterTrainingTest, RefusesToGoOnWithOtherGroups) {
  JobConfig config = even_job("groups");
  config.comm.groups = 2;
  config.outer.every = 2;
  Recorder recorder;
  run(config, 1, recorder);
  config.comm.groups = 4;
  config.job.steps = 8;
  try {
    run(config, 1, recorder);
    FAIL() << "went on with other groups";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("outer is \"every 2 steps in 4 groups"));
  }
}

/// Three groups' copies of one parameter of 20 000 numbers and a statistic, and the outer optimizer in double
/// precision.
class Reference {
 public:
  explicit Reference(const OuterSection& config) : config_(config), momentum_(kElements), value_(kElements) {}

  static double copy(int exchange, int group, std::size_t e) {
    return std::sin(0.001 * static_cast<double>(e) * (group + 1)) + 0.1 * exchange;
  }
  void exchange(int number) {
    for (std::size_t e = 0; e < kElements; ++e) {
      double gradient = 0.0;
      for (int group = 0; group < kGroups; ++group) gradient += (value_[e] - copy(number, group, e)) / kGroups;
      momentum_[e] = config_.momentum * momentum_[e] + gradient;
      const double way = config_.nesterov ? gradient + config_.momentum * momentum_[e] : momentum_[e];
      value_[e] -= config_.lr * (config_.momentum > 0.0 ? way : gradient);
    }
  }
  [[nodiscard]] double operator[](std::size_t e) const { return value_[e]; }

  static constexpr std::size_t kElements = 20000;
  static constexpr int kGroups = 3;

 private:
  OuterSection config_;
  std::vector<double> momentum_, value_;
};

void expect_exchanges(const OuterSection& outer, int workers, int per_node) {
  JobConfig config;
  config.outer = outer;
  ParameterTable table;
  table.add("first", {16}, ParameterKind::kTrained, {}, DType::kF32);
  table.add("w", {100, 200}, ParameterKind::kTrained, {}, DType::kBF16);
  table.add("mean", {7}, ParameterKind::kStatistic, {}, DType::kF32);
  run_workers(workers, per_node, [&](Communicator& world) {
    const auto backend = make_backend({.name = "cpu", .threads = 1});
    const GroupLayout groups = lay_out_groups(world.rank(), world.size(), Reference::kGroups, 6);
    OuterFragment fragment(table, 1, 3, config, groups, 20000, world, *backend);
    fragment.initialise(1);
    Reference reference(outer);
    for (int exchange = 0; exchange < 3; ++exchange) {
      const ShardRange led = groups.led[static_cast<std::size_t>(world.rank())];
      std::vector<std::vector<float>> copies;
      std::vector<ConstDeviceSpan> spans;
      for (int group = led.begin; group < led.end; ++group) {
        auto& copy = copies.emplace_back(static_cast<std::size_t>(table.flat_size()));
        for (std::size_t e = 0; e < Reference::kElements; ++e) {
          copy[16 + e] = static_cast<float>(Reference::copy(exchange, group, e));
        }
        for (std::size_t e = 0; e < 7; ++e) copy[16 + Reference::kElements + e] = static_cast<float>(group + exchange);
      }
      for (const auto& copy : copies) spans.push_back({copy.data(), table.flat_size(), DType::kF32});
      fragment.send(spans);
      fragment.reduce();
      fragment.receive();
      reference.exchange(exchange);
      const auto* values = static_cast<const float*>(fragment.values(16, 16 + Reference::kElements + 7).data);
      for (std::size_t e = 0; e < Reference::kElements; e += 97) EXPECT_NEAR(values[e], reference[e], 2e-6) << e;
      for (std::size_t e = 0; e < 7; ++e) EXPECT_NEAR(values[Reference::kElements + e], 1.0 + exchange, 1e-6);
    }
  });
}

TEST(OuterFragment, MovesByTheMeanDifferenceAsTheOuterOptimizerSays) {
  const OuterSection nesterov{.lr = 0.7, .momentum = 0.9};
  const OuterSection heavy_ball{.lr = 0.5, .momentum = 0.5, .nesterov = false};
  const OuterSection plain{.lr = 1.0, .momentum = 0.0};
  for (const OuterSection& outer : {nesterov, heavy_ball, plain}) {
    expect_exchanges(outer, 1, 1);
    expect_exchanges(outer, 3, 1);
    expect_exchanges(outer, 5, 2);
  }
}

TEST(GroupLayout, GivesEveryGroupOneLeaderAndEveryWorkerAPart) {
  for (const int groups : {1, 2, 3, 6}) {
    for (int workers = 1; workers <= 6; ++workers) {
      std::vector<int> leaders(static_cast<std::size_t>(groups)), members(static_cast<std::size_t>(groups));
      for (int rank = 0; rank < workers; ++rank) {
        const GroupLayout layout = lay_out_groups(rank, workers, groups, 6);
        EXPECT_LT(layout.mine.begin, layout.mine.end);
        const ShardRange led = layout.led[static_cast<std::size_t>(rank)];
        for (int g = led.begin; g < led.end; ++g) ++leaders[static_cast<std::size_t>(g)];
        for (int g = layout.mine.begin; g < layout.mine.end; ++g) ++members[static_cast<std::size_t>(g)];
        EXPECT_LE(layout.team, rank);
      }
      EXPECT_THAT(leaders, testing::Each(1)) << groups << " groups, " << workers << " workers";
      EXPECT_THAT(members, testing::Each(testing::Ge(1)));
    }
  }
  EXPECT_THROW(static_cast<void>(lay_out_groups(0, 7, 2, 6)), ConfigError);
}

}  // namespace
}  // namespace ballast
