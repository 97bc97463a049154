#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

using CrossEntropy = KernelTest;
INSTANTIATE_TEST_SUITE_P(Types, CrossEntropy, testing::Values(DType::kF32, DType::kBF16), type_name);

struct Size {
  std::int64_t rows, classes;
};
const std::vector<Size> kSizes = {{1, 1}, {1, 2}, {3, 7}, {64, 10}, {33, 65}, {200, 1000}, {3, 50257}};

/// Every fifth target is -1: not counted.
Tensor random_targets(const Size& size) {
  Tensor targets = random_tensor(DType::kI32, size.rows, 1, 0.0, static_cast<double>(size.classes));
  for (std::int64_t r = 4; r < size.rows; r += 5) targets.set(r, -1.0);
  return targets;
}

double log_sum_exp_of(const Tensor& logits, std::int64_t row, std::int64_t classes) {
  double top = logits.at(row * classes);
  for (std::int64_t k = 0; k < classes; ++k) top = std::max(top, logits.at(row * classes + k));
  double total = 0.0;
  for (std::int64_t k = 0; k < classes; ++k) total += std::exp(logits.at(row * classes + k) - top);
  return top + std::log(total);
}

std::int64_t first_largest(const Tensor& logits, std::int64_t row, std::int64_t classes) {
  std::int64_t best = 0;
  for (std::int64_t k = 1; k < classes; ++k) {
    if (logits.at(row * classes + k) > logits.at(row * classes + best)) best = k;
  }
  return best;
}

TEST_P(CrossEntropy, AddsUpLossAndCorrectRowsOfCountedTargets) {
  for (const Size& size : kSizes) {
    Tensor logits = random_tensor(GetParam(), size.rows * size.classes, 2, -8.0, 8.0);
    Tensor targets = random_targets(size);
    for (std::int64_t r = 0; r < size.rows; r += 3) {
      targets.set(r, static_cast<double>(first_largest(logits, r, size.classes)));
    }
    Tensor log_sum_exp(DType::kF32, size.rows);
    const LossSums sums = softmax_cross_entropy(pool, size.rows, logits.span(), targets.span(), log_sum_exp.span());
    LossSums expected;
    std::vector<double> expected_log_sum_exp;
    for (std::int64_t r = 0; r < size.rows; ++r) {
      const double lse = log_sum_exp_of(logits, r, size.classes);
      expected_log_sum_exp.push_back(lse);
      const auto target = static_cast<std::int64_t>(targets.at(r));
      if (target < 0) continue;
      expected.loss += lse - logits.at(r * size.classes + target);
      expected.rows += 1;
      expected.correct += first_largest(logits, r, size.classes) == target ? 1 : 0;
    }
    EXPECT_NEAR(sums.loss, expected.loss, 2e-5 * static_cast<double>(size.rows));
    EXPECT_EQ(sums.rows, expected.rows);
    EXPECT_EQ(sums.correct, expected.correct);
    expect_close(log_sum_exp, expected_log_sum_exp, DType::kF32, 1e-6, 1.0);
  }
}

TEST_P(CrossEntropy, BackwardIsSoftmaxMinusOneHot) {
  for (const Size& size : kSizes) {
    Tensor logits = random_tensor(GetParam(), size.rows * size.classes, 3, -8.0, 8.0);
    Tensor targets = random_targets(size);
    Tensor log_sum_exp(DType::kF32, size.rows);
    std::vector<double> expected;
    for (std::int64_t r = 0; r < size.rows; ++r) {
      const double lse = log_sum_exp_of(logits, r, size.classes);
      log_sum_exp.set(r, lse);
      for (std::int64_t k = 0; k < size.classes; ++k) {
        const double p = std::exp(logits.at(r * size.classes + k) - lse);
        expected.push_back(targets.at(r) < 0.0 ? 0.0
                                               : (p - (targets.at(r) == static_cast<double>(k) ? 1.0 : 0.0)) * 0.25);
      }
    }
    Tensor dlogits = random_tensor(GetParam(), logits.size(), 4);
    softmax_cross_entropy_backward(pool, size.rows, logits.span(), targets.span(), log_sum_exp.span(), 0.25F,
                                   dlogits.span());
    expect_close(dlogits, expected, GetParam(), 1e-6, 0.25);
    softmax_cross_entropy_backward(pool, size.rows, logits.span(), targets.span(), log_sum_exp.span(), 0.25F,
                                   logits.span());
    EXPECT_EQ(logits.bytes(), dlogits.bytes()) << "in place";
  }
}

TEST_P(CrossEntropy, HugeLogitsDoNotOverflow) {
  Tensor logits(GetParam(), std::vector<double>{1e30, 0.0, -1e30});
  Tensor targets(DType::kI32, std::vector<double>{0});
  Tensor log_sum_exp(DType::kF32, 1);
  EXPECT_EQ(softmax_cross_entropy(pool, 1, logits.span(), targets.span(), log_sum_exp.span()).loss, 0.0);
  softmax_cross_entropy_backward(pool, 1, logits.span(), targets.span(), log_sum_exp.span(), 1.0F, logits.span());
  for (std::int64_t i = 0; i < 3; ++i) EXPECT_EQ(logits.at(i), 0.0);
}

TEST_P(CrossEntropy, GivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([](ThreadPool& threads) {
    const Size size = {501, 131};
    Tensor logits = random_tensor(GetParam(), size.rows * size.classes, 6, -8.0, 8.0);
    Tensor targets = random_targets(size);
    Tensor log_sum_exp(DType::kF32, size.rows);
    const LossSums sums = softmax_cross_entropy(threads, size.rows, logits.span(), targets.span(), log_sum_exp.span());
    softmax_cross_entropy_backward(threads, size.rows, logits.span(), targets.span(), log_sum_exp.span(), 0.1F,
                                   logits.span());
    std::vector<std::byte> loss(sizeof(double));
    std::memcpy(loss.data(), &sums.loss, sizeof(double));
    return Outputs{loss, logits.bytes(), log_sum_exp.bytes()};
  });
}

}  // namespace
}  // namespace ballast
