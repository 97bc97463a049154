// Softmax cross-entropy on any backend.
#include <gmock/gmock.h>

#include "tests/compute/operation_case.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

BALLAST_BOTH_TYPES(OperationsCrossEntropy);

struct Size {
  std::int64_t rows, classes;
};

// The last are wider than one block of the vocabulary.
const std::vector<Size> kSizes = {{0, 5}, {1, 1}, {1, 2}, {3, 7}, {64, 10}, {33, 65}, {10, 1000}, {3, 5003}};

std::string describe(const Size& size) {
  return std::to_string(size.rows) + " rows of " + std::to_string(size.classes) + " classes";
}

/// Every fifth target is not counted; every third is the largest logit.
std::vector<double> targets_of(const Size& size, const std::vector<double>& logits) {
  std::vector<double> targets = random_values(DType::kI32, size.rows, 1, 0.0, static_cast<double>(size.classes));
  for (std::size_t r = 0; r < targets.size(); ++r) {
    const auto row = logits.begin() + static_cast<std::int64_t>(r) * size.classes;
    if (r % 3 == 0) targets[r] = static_cast<double>(std::max_element(row, row + size.classes) - row);
    if (r % 5 == 4) targets[r] = -1.0;
  }
  return targets;
}

/// The loss in a call of its own; what it returns on the host joins the case.
void check_loss(Backend& backend, DType dtype, const Size& size, const std::vector<double>& logits_RV,
                const std::vector<double>& targets_R) {
  OperationCase c;
  const int logits = c.reads("logits", dtype, logits_RV);
  const int targets = c.reads("targets", DType::kI32, targets_R);
  const int log_sum_exp = c.writes("log_sum_exp", DType::kF32, size.rows, {.relative = 1e-6, .scale = 1.0});
  c.returns({{.relative = 2e-6, .scale = 10.0 * static_cast<double>(size.rows)}, {}, {}});
  c.check(backend, [&](Backend& on, Arguments& t) {
    LossSums sums{.loss = 0.5, .rows = 2, .correct = 1};  // of an earlier micro-batch
    on.softmax_cross_entropy(size.rows, t[logits], t[targets], t[log_sum_exp], sums);
    on.synchronize();
    t.results = {sums.loss, static_cast<double>(sums.rows), static_cast<double>(sums.correct)};
  });
}

TEST_P(OperationsCrossEntropy, AddsUpLossAndCorrectRowsOfCountedTargets) {
  for (const Size& size : kSizes) {
    SCOPED_TRACE(describe(size));
    const auto logits = random_values(GetParam(), size.rows * size.classes, 2, -8.0, 8.0);
    check_loss(*backend, GetParam(), size, logits, targets_of(size, logits));
  }
}

TEST_P(OperationsCrossEntropy, LowestIndexWinsTies) {
  std::vector<double> row(700, 0.5);
  row[40] = row[20] = row[70] = row[699] = 3.0;
  for (const double target : {20.0, 40.0, 70.0, 699.0, 0.0}) check_loss(*backend, GetParam(), {1, 700}, row, {target});
}

TEST_P(OperationsCrossEntropy, ANanInALogitShowsInTheLoss) {
  for (const std::size_t at : {0U, 33U}) {
    auto logits = random_values(GetParam(), 34, 5);
    logits[at] = kNan;
    Arguments t;
    OperationCase c;
    const int x = c.reads("logits", GetParam(), logits);
    const int targets = c.reads("targets", DType::kI32, {5.0});
    const int log_sum_exp = c.writes("log_sum_exp", DType::kF32, 1, {});
    c.returns({{}});
    c.check(*backend, [&](Backend& on, Arguments& given) {
      LossSums sums;
      on.softmax_cross_entropy(1, given[x], given[targets], given[log_sum_exp], sums);
      on.synchronize();
      given.results = {sums.loss};
    });
  }
}

TEST_P(OperationsCrossEntropy, HugeLogitsDoNotOverflow) {
  check_loss(*backend, GetParam(), {2, 3}, {1e30, 0.0, -1e30, -300.0, -301.0, -302.0}, {0.0, 1.0});
}

TEST_P(OperationsCrossEntropy, SumsOfCallsBeforeOneWaitAddUp) {
  const Size size{33, 65};
  const auto logits_RV = random_values(GetParam(), size.rows * size.classes, 7, -8.0, 8.0);
  OperationCase c;
  const int logits = c.reads("logits", GetParam(), logits_RV);
  const int targets = c.reads("targets", DType::kI32, targets_of(size, logits_RV));
  const int log_sum_exp = c.writes("log_sum_exp", DType::kF32, size.rows, {.relative = 1e-6, .scale = 1.0});
  c.returns({{.relative = 2e-6, .scale = 1000.0}, {}, {}});
  c.check(*backend, [&](Backend& on, Arguments& t) {
    LossSums sums;
    for (int micro = 0; micro < 3; ++micro) {
      on.softmax_cross_entropy(size.rows, t[logits], t[targets], t[log_sum_exp], sums);
    }
    on.synchronize();
    t.results = {sums.loss, static_cast<double>(sums.rows), static_cast<double>(sums.correct)};
  });
}

TEST_P(OperationsCrossEntropy, BackwardIsSoftmaxMinusOneHotAlsoInPlace) {
  for (const Size& size : kSizes) {
    SCOPED_TRACE(describe(size));
    auto logits_RV = random_values(GetParam(), size.rows * size.classes, 3, -8.0, 8.0);
    auto targets_R = targets_of(size, logits_RV);
    std::vector<std::int32_t> whole(targets_R.begin(), targets_R.end());
    std::vector<double> sums(targets_R.size());
    LossSums unused;
    ReferenceBackend().softmax_cross_entropy(size.rows, {logits_RV.data(), std::ssize(logits_RV), DType::kF64},
                                             {whole.data(), size.rows, DType::kI32},
                                             {sums.data(), size.rows, DType::kF64}, unused);
    OperationCase c;
    const int logits = c.reads("logits", GetParam(), logits_RV);
    const int targets = c.reads("targets", DType::kI32, targets_R);
    const int log_sum_exp = c.reads("log_sum_exp", DType::kF32, sums);
    const int dlogits = c.writes("dlogits", GetParam(), std::ssize(logits_RV), {.relative = 2e-6, .scale = 0.25});
    const int in_place = c.updates("in place", GetParam(), logits_RV, {.relative = 2e-6, .scale = 0.25});
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.softmax_cross_entropy_backward(size.rows, t[logits], t[targets], t[log_sum_exp], 0.25F, t[dlogits]);
      on.softmax_cross_entropy_backward(size.rows, t[in_place], t[targets], t[log_sum_exp], 0.25F, t[in_place]);
    });
  }
}

/// The call itself may find the bad target, or the next wait; memory must stay until then.
TEST_P(OperationsCrossEntropy, RefusesATargetBeyondTheClasses) {
  const Buffer logits(*backend, 6, GetParam());
  const Buffer targets(*backend, 2, DType::kI32);
  const Buffer log_sum_exp(*backend, 2, DType::kF32);
  backend->zero(logits.span());
  LossSums sums;
  const auto loss_of = [&](const std::vector<std::int32_t>& of) {
    backend->upload(std::as_bytes(std::span(of)), targets.span());
    backend->softmax_cross_entropy(2, logits.span(), targets.span(), log_sum_exp.span(), sums);
    backend->synchronize();
  };
  try {
    loss_of({0, 3});
    ADD_FAILURE() << "took target 3 of 3 classes";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("target 3 is outside the 3 classes"));
  }
  sums = {};
  loss_of({0, 2});  // the backend has forgotten the failure
  EXPECT_EQ(sums.rows, 2);
}

}  // namespace
}  // namespace ballast
