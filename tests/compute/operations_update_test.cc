// Optimizer updates on any backend.
#include <cstring>

#include "tests/compute/operation_case.h"

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

class OperationsUpdate : public testing::TestWithParam<Kind> {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test();

  [[nodiscard]] static UpdateRule rule(bool want_sums) {
    UpdateRule made = kRule;
    made.kind = GetParam().kind;
    made.want_sums = want_sums;
    return made;
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, OperationsUpdate,
                         testing::Values(Kind{UpdateKind::kSgd, "Sgd", 0}, Kind{UpdateKind::kMomentum, "Momentum", 1},
                                         Kind{UpdateKind::kNesterov, "Nesterov", 1},
                                         Kind{UpdateKind::kAdaGrad, "AdaGrad", 1},
                                         Kind{UpdateKind::kRmsProp, "RmsProp", 1}, Kind{UpdateKind::kAdam, "Adam", 2},
                                         Kind{UpdateKind::kAverage, "Average", 0}),
                         [](const auto& kind) { return std::string(kind.param.name); });

/// The tensors of one run, numbered in the case from its first. States are not negative: some are sums of squares.
class RunTensors {
 public:
  RunTensors(OperationCase& c, std::int64_t size, int states, bool with_compute) : with_compute_(with_compute) {
    const Tolerance tolerance{.relative = 5e-7, .scale = 1.0};
    std::vector<double> values = random_values(DType::kF32, size, 1);
    if (size > 3) values[3] = 0.0;  // whose sign is 0
    value_ = c.updates("value", DType::kF32, values, tolerance);
    if (with_compute) compute_ = c.writes("compute", DType::kBF16, size, tolerance);
    gradient_ = c.reads("gradient", DType::kF32, random_values(DType::kF32, size, 2));
    for (int s = 0; s < states; ++s) {
      const auto state = random_values(DType::kF32, size, static_cast<std::uint64_t>(3 + s), 0.1, 1.0);
      states_.push_back(c.updates("state " + std::to_string(s), DType::kF32, state, tolerance));
    }
  }

  [[nodiscard]] UpdateRun run(const Arguments& t) const { return part(t, 0, t[value_].size); }

  [[nodiscard]] UpdateRun part(const Arguments& t, std::int64_t begin, std::int64_t end) const {
    UpdateRun run;
    run.value = t[value_].subspan(begin, end - begin);
    if (with_compute_) run.compute = t[compute_].subspan(begin, end - begin);
    run.gradient = t[gradient_].subspan(begin, end - begin);
    for (std::size_t s = 0; s < states_.size(); ++s) run.state[s] = t[states_[s]].subspan(begin, end - begin);
    return run;
  }

 private:
  int value_ = 0, compute_ = 0, gradient_ = 0;
  std::vector<int> states_;
  bool with_compute_;
};

const std::vector<std::int64_t> kSizes = {0, 1, 5, 17, 511, 2050, 8193};

/// A change is the difference of two f32 numbers and carries their roundings.
const std::vector<Tolerance> kSums = {{.relative = 1e-6}, {.relative = 2e-4}};

TEST_P(OperationsUpdate, FollowsItsFormulaWithAndWithoutCopyAndSums) {
  for (const std::int64_t size : kSizes) {
    for (const bool with_compute : {false, true}) {
      for (const bool want_sums : {false, true}) {
        SCOPED_TRACE(std::to_string(size) + (with_compute ? ", copy" : "") + (want_sums ? ", sums" : ""));
        OperationCase c;
        const RunTensors tensors(c, size, GetParam().states, with_compute);
        c.returns(kSums);
        c.check(*backend, [&](Backend& on, Arguments& t) {
          const UpdateSums sums = on.update(rule(want_sums), tensors.run(t));
          t.results = {sums.value_squares, sums.change_squares};
        });
      }
    }
  }
}

/// The bytes of every tensor after `apply` worked on a fresh run of `size` elements.
std::vector<std::vector<std::byte>> after(Backend& backend, std::int64_t size, int states,
                                          const std::function<void(const UpdateRun&)>& apply) {
  struct Part {
    Buffer buffer;
    std::vector<std::byte> bytes;
  };
  std::vector<Part> parts;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF32, DType::kF32, DType::kF32}) {
    Part part{Buffer(backend, size, dtype), std::vector<std::byte>(static_cast<std::size_t>(size * size_of(dtype)))};
    const auto values = random_values(DType::kF32, size, parts.size(), 0.1, 1.0);
    const std::vector<float> narrow(values.begin(), values.end());
    if (dtype == DType::kF32)
      std::copy_n(std::as_bytes(std::span(narrow)).begin(), part.bytes.size(), part.bytes.begin());
    backend.upload(part.bytes, part.buffer.span());
    parts.push_back(std::move(part));
  }
  UpdateRun run{parts[0].buffer.span(), parts[1].buffer.span(), parts[2].buffer.span(), {}};
  for (std::size_t s = 0; s < static_cast<std::size_t>(states); ++s) run.state[s] = parts[3 + s].buffer.span();
  apply(run);
  std::vector<std::vector<std::byte>> bytes;
  for (Part& part : parts) {
    backend.download(part.buffer.span(), part.bytes);
    backend.synchronize();
    bytes.push_back(part.bytes);
  }
  return bytes;
}

TEST_P(OperationsUpdate, SumsAreThoseOfTheVeryValues) {
  constexpr std::int64_t kSize = 3001;
  UpdateSums sums;
  const auto bytes =
      after(*backend, kSize, GetParam().states, [&](const UpdateRun& run) { sums = backend->update(rule(true), run); });
  const auto before = random_values(DType::kF32, kSize, 0, 0.1, 1.0);
  std::vector<float> values(kSize);
  std::memcpy(values.data(), bytes[0].data(), bytes[0].size());
  UpdateSums expected;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    expected.value_squares += value * value;
    expected.change_squares += (value - before[i]) * (value - before[i]);
  }
  EXPECT_NEAR(sums.value_squares, expected.value_squares, 1e-9 * expected.value_squares);
  EXPECT_NEAR(sums.change_squares, expected.change_squares, 1e-6 * expected.change_squares);
}

UpdateRun slice_of(const UpdateRun& run, ElementRange range) {
  const std::int64_t size = range.end - range.begin;
  UpdateRun slice{run.value.subspan(range.begin, size),
                  run.compute.subspan(range.begin, size),
                  run.gradient.subspan(range.begin, size),
                  {}};
  for (std::size_t s = 0; s < run.state.size(); ++s) {
    if (!run.state[s].empty()) slice.state[s] = run.state[s].subspan(range.begin, size);
  }
  return slice;
}

/// Coordinators own slices: where a slice begins must not show.
TEST_P(OperationsUpdate, SlicesGiveTheBitsOfTheWhole) {
  const int states = GetParam().states;
  const auto whole = after(*backend, 1001, states, [&](const UpdateRun& run) { backend->update(rule(false), run); });
  const auto sliced = after(*backend, 1001, states, [&](const UpdateRun& run) {
    for (const ElementRange range : {ElementRange{0, 3}, {3, 500}, {500, 1001}})
      backend->update(rule(true), slice_of(run, range));
  });
  EXPECT_TRUE(whole == sliced);
}

TEST_P(OperationsUpdate, PartsGiveTheBitsAndTheSumsOfCallsOfTheirOwn) {
  const std::vector<ElementRange> parts = {{0, 8192}, {8192, 8200}, {8200, 8201}, {8207, 10000}};
  std::vector<UpdateSums> sums(parts.size());
  std::vector<UpdateSums> expected;
  const int states = GetParam().states;
  const auto together = after(*backend, 10007, states, [&](const UpdateRun& run) {
    backend->update_parts(rule(false), run, parts, sums);
    backend->synchronize();
  });
  const auto apart = after(*backend, 10007, states, [&](const UpdateRun& run) {
    for (const ElementRange& part : parts) expected.push_back(backend->update(rule(true), slice_of(run, part)));
  });
  EXPECT_TRUE(together == apart);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    EXPECT_EQ(sums[i].value_squares, expected[i].value_squares) << "part " << i;
    EXPECT_EQ(sums[i].change_squares, expected[i].change_squares) << "part " << i;
  }
}

}  // namespace
}  // namespace ballast
