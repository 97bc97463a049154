#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

constexpr UpdateRule kRule{.lr = 0.05F,
                           .gradient_scale = 0.5F,
                           .weight_decay = 0.1F,
                           .l1 = 0.01F,
                           .l2 = 0.02F,
                           .beta1 = 0.9F,
                           .beta2 = 0.95F,
                           .epsilon = 1e-3F,
                           .correction1 = 5.2631578F,
                           .correction2 = 10.256410F};

struct Kind {
  UpdateKind kind;
  const char* name;
  int states;
};

class Update : public testing::TestWithParam<Kind> {
 protected:
  ThreadPool pool{2};
  [[nodiscard]] UpdateRule rule() const {
    UpdateRule rule = kRule;
    rule.kind = GetParam().kind;
    return rule;
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, Update,
                         testing::Values(Kind{UpdateKind::kSgd, "Sgd", 0}, Kind{UpdateKind::kMomentum, "Momentum", 1},
                                         Kind{UpdateKind::kNesterov, "Nesterov", 1},
                                         Kind{UpdateKind::kAdaGrad, "AdaGrad", 1},
                                         Kind{UpdateKind::kRmsProp, "RmsProp", 1}, Kind{UpdateKind::kAdam, "Adam", 2},
                                         Kind{UpdateKind::kAverage, "Average", 0}),
                         [](const auto& kind) { return std::string(kind.param.name); });

/// Memory of one run. States are not negative, for those that are sums of squares.
struct Memory {
  Tensor value, compute, gradient, first, second;
  int states;
  Memory(std::int64_t size, int number_of_states)
      : value(random_tensor(DType::kF32, size, 1)),
        compute(DType::kBF16, size),
        gradient(random_tensor(DType::kF32, size, 2)),
        first(random_tensor(DType::kF32, size, 3, 0.1, 1.0)),
        second(random_tensor(DType::kF32, size, 4, 0.1, 1.0)),
        states(number_of_states) {
    if (size > 3) value.set(3, 0.0);
  }
  UpdateRun run() {
    UpdateRun run{.value = value.span(), .compute = compute.span(), .gradient = gradient.span(), .state = {}};
    if (states > 0) run.state[0] = first.span();
    if (states > 1) run.state[1] = second.span();
    return run;
  }
};

/// update.h for one element in f64. `m` and `v` are the first and the only or second state.
void update_reference(const UpdateRule& r, double& w, double g, double& m, double& v) {
  const auto d = [](float x) { return static_cast<double>(x); };
  if (r.kind == UpdateKind::kAverage) {
    w += (1.0 - d(r.beta1)) * (g - w);
    return;
  }
  const double sign = w > 0.0 ? 1.0 : (w < 0.0 ? -1.0 : 0.0);
  const double slope = d(r.gradient_scale) * g + d(r.l2) * w + d(r.l1) * sign;
  double direction = slope;
  switch (r.kind) {
    case UpdateKind::kMomentum:
      m = d(r.beta1) * m + slope;
      direction = m;
      break;
    case UpdateKind::kNesterov:
      m = d(r.beta1) * m + slope;
      direction = slope + d(r.beta1) * m;
      break;
    case UpdateKind::kAdaGrad:
      v += slope * slope;
      direction = slope / (std::sqrt(v) + d(r.epsilon));
      break;
    case UpdateKind::kRmsProp:
      v = d(r.beta2) * v + (1.0 - d(r.beta2)) * slope * slope;
      direction = slope / (std::sqrt(v) + d(r.epsilon));
      break;
    case UpdateKind::kAdam:
      m = d(r.beta1) * m + (1.0 - d(r.beta1)) * slope;
      v = d(r.beta2) * v + (1.0 - d(r.beta2)) * slope * slope;
      direction = m * d(r.correction1) / (std::sqrt(v * d(r.correction2)) + d(r.epsilon));
      break;
    default:
      break;
  }
  w -= d(r.lr) * d(r.weight_decay) * w;
  w -= d(r.lr) * direction;
}

const std::vector<std::int64_t> kSizes = {0, 1, 5, 16, 17, 511, 513, 8192, 8193, 40001};

TEST_P(Update, FollowsItsFormula) {
  for (const std::int64_t size : kSizes) {
    Memory memory(size, GetParam().states);
    std::vector<double> w, first, second;
    for (std::int64_t i = 0; i < size; ++i) {
      w.push_back(memory.value.at(i));
      first.push_back(memory.first.at(i));
      second.push_back(memory.second.at(i));
      // Kinds with one state have it in `first`, as m or as v.
      double& v = GetParam().states == 2 ? second.back() : first.back();
      update_reference(rule(), w.back(), memory.gradient.at(i), first.back(), v);
    }
    const UpdateSums sums = update(pool, rule(), memory.run());
    expect_close(memory.value, w, DType::kF32, 5e-7, 1.0);
    expect_close(memory.first, first, DType::kF32, 5e-7, 1.0);
    expect_close(memory.second, second, DType::kF32, 5e-7, 1.0);
    EXPECT_EQ(sums.value_squares, 0.0) << "nobody asked";
    EXPECT_TRUE(memory.compute.intact());
    for (std::int64_t i = 0; i < size; ++i) {
      ASSERT_EQ(memory.compute.at(i), static_cast<double>(widen(narrow(static_cast<float>(memory.value.at(i))))));
    }
  }
}

TEST_P(Update, SumsSquaresOfValuesAndChangesWhenAsked) {
  for (const std::int64_t size : kSizes) {
    Memory silent(size, GetParam().states);
    Memory summed(size, GetParam().states);
    const Tensor before = summed.value;
    UpdateRule with_sums = rule();
    with_sums.want_sums = true;
    update(pool, rule(), silent.run());
    const UpdateSums sums = update(pool, with_sums, summed.run());
    EXPECT_EQ(summed.value.bytes(), silent.value.bytes()) << "sums changed the update";
    UpdateSums expected;
    for (std::int64_t i = 0; i < size; ++i) {
      expected.value_squares += std::pow(summed.value.at(i), 2);
      expected.change_squares += std::pow(summed.value.at(i) - before.at(i), 2);
    }
    EXPECT_NEAR(sums.value_squares, expected.value_squares, 1e-9 * expected.value_squares);
    EXPECT_NEAR(sums.change_squares, expected.change_squares, 1e-6 * expected.change_squares);
  }
}

TEST_P(Update, GivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([&](ThreadPool& threads) {
    Memory memory(100003, GetParam().states);
    UpdateRule with_sums = rule();
    with_sums.want_sums = true;
    const UpdateSums sums = update(threads, with_sums, memory.run());
    std::vector<std::byte> bytes(sizeof(sums));
    std::memcpy(bytes.data(), &sums, sizeof(sums));
    return Outputs{memory.value.bytes(), memory.first.bytes(), memory.second.bytes(), bytes};
  });
}

TEST_P(Update, PartsGiveTheBitsAndTheSumsOfCallsOfTheirOwn) {
  constexpr std::int64_t kSize = 20000;
  const std::vector<ElementRange> parts = {{0, 8192}, {8192, 16384}, {16384, 16385}, {16385, 20000}};
  UpdateRule with_sums = rule();
  with_sums.want_sums = true;
  for (const int threads : {1, 3}) {
    ThreadPool several(threads);
    Memory together(kSize, GetParam().states);
    Memory apart(kSize, GetParam().states);
    std::vector<UpdateSums> sums(parts.size());
    update_parts(several, rule(), together.run(), parts, sums);
    const UpdateRun run = apart.run();
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::int64_t begin = parts[i].begin;
      const std::int64_t size = parts[i].end - begin;
      UpdateRun part{
          run.value.subspan(begin, size), run.compute.subspan(begin, size), run.gradient.subspan(begin, size), {}};
      for (std::size_t s = 0; s < 2; ++s) {
        if (!run.state[s].empty()) part.state[s] = run.state[s].subspan(begin, size);
      }
      const UpdateSums expected = update(pool, with_sums, part);
      EXPECT_EQ(sums[i].value_squares, expected.value_squares);
      EXPECT_EQ(sums[i].change_squares, expected.change_squares);
    }
    EXPECT_EQ(together.value.bytes(), apart.value.bytes());
    EXPECT_EQ(together.first.bytes(), apart.first.bytes());
    EXPECT_EQ(together.second.bytes(), apart.second.bytes());
    EXPECT_EQ(together.compute.bytes(), apart.compute.bytes());
  }
}

TEST(UpdateRun, RefusesAMissingState) {
  ThreadPool pool(1);
  Memory memory(8, 1);
  UpdateRule rule = kRule;
  rule.kind = UpdateKind::kAdam;
  EXPECT_THROW(update(pool, rule, memory.run()), Error);
}

}  // namespace
}  // namespace ballast
