#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

using Attention = KernelTest;
INSTANTIATE_TEST_SUITE_P(Types, Attention, testing::Values(DType::kF32, DType::kBF16), type_name);

const std::vector<AttentionShape> kShapes = {
    {.samples = 0, .positions = 4, .heads = 2, .head_width = 4},
    {.samples = 1, .positions = 1, .heads = 1, .head_width = 1},
    {.samples = 2, .positions = 5, .heads = 3, .head_width = 7},
    {.samples = 1, .positions = 64, .heads = 2, .head_width = 16},
    {.samples = 1, .positions = 65, .heads = 2, .head_width = 64},
    {.samples = 2, .positions = 150, .heads = 1, .head_width = 33},
    // Several blocks of keys, an odd last one, and a head cut into several tasks.
    {.samples = 1, .positions = 515, .heads = 1, .head_width = 20},
};

std::int64_t size_of_y(const AttentionShape& s) { return s.samples * s.positions * s.heads * s.head_width; }

/// Attention and its gradients in f64, head by head, with the whole T x T matrix.
struct Reference {
  std::vector<double> y, log_sum_exp, dqkv;

  Reference(const AttentionShape& shape, const Tensor& qkv_in, const Tensor& dy_in)
      : y(static_cast<std::size_t>(size_of_y(shape))),
        log_sum_exp(static_cast<std::size_t>(shape.samples * shape.heads * shape.positions)),
        dqkv(static_cast<std::size_t>(3 * size_of_y(shape))),
        s(shape),
        qkv(qkv_in),
        dy(dy_in) {
    for (std::int64_t b = 0; b < s.samples; ++b) {
      for (std::int64_t h = 0; h < s.heads; ++h) {
        for (std::int64_t i = 0; i < s.positions; ++i) add_query(b, h, i);
      }
    }
  }

 private:
  [[nodiscard]] std::int64_t at_y(std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) const {
    return ((b * s.positions + t) * s.heads + h) * s.head_width + d;
  }
  [[nodiscard]] std::int64_t at_qkv(std::int64_t b, std::int64_t t, std::int64_t part, std::int64_t h,
                                    std::int64_t d) const {
    return (((b * s.positions + t) * 3 + part) * s.heads + h) * s.head_width + d;
  }
  void add_query(std::int64_t b, std::int64_t h, std::int64_t i) {
    const double scale = 1.0 / std::sqrt(static_cast<double>(s.head_width));
    std::vector<double> p;
    double total = 0.0;
    for (std::int64_t j = 0; j <= i; ++j) {
      double score = 0.0;
      for (std::int64_t d = 0; d < s.head_width; ++d)
        score += qkv.at(at_qkv(b, i, 0, h, d)) * qkv.at(at_qkv(b, j, 1, h, d));
      p.push_back(std::exp(score * scale));
      total += p.back();
    }
    log_sum_exp[(b * s.heads + h) * s.positions + i] = std::log(total);
    std::vector<double> dp(p.size());
    double dot = 0.0;
    for (std::int64_t j = 0; j <= i; ++j) {
      p[j] /= total;
      for (std::int64_t d = 0; d < s.head_width; ++d) {
        const double grad = dy.at(at_y(b, i, h, d));
        y[at_y(b, i, h, d)] += p[j] * qkv.at(at_qkv(b, j, 2, h, d));
        dqkv[at_qkv(b, j, 2, h, d)] += p[j] * grad;
        dp[j] += grad * qkv.at(at_qkv(b, j, 2, h, d));
      }
      dot += dp[j] * p[j];
    }
    for (std::int64_t j = 0; j <= i; ++j) {
      const double ds = p[j] * (dp[j] - dot) * scale;
      for (std::int64_t d = 0; d < s.head_width; ++d) {
        dqkv[at_qkv(b, i, 0, h, d)] += ds * qkv.at(at_qkv(b, j, 1, h, d));
        dqkv[at_qkv(b, j, 1, h, d)] += ds * qkv.at(at_qkv(b, i, 0, h, d));
      }
    }
  }

  const AttentionShape& s;
  const Tensor& qkv;
  const Tensor& dy;
};

TEST_P(Attention, MatchesTheWholeMatrix) {
  for (const AttentionShape& shape : kShapes) {
    Tensor qkv = random_tensor(GetParam(), 3 * size_of_y(shape), 1);
    Tensor dy = random_tensor(GetParam(), size_of_y(shape), 2);
    Tensor y(GetParam(), size_of_y(shape));
    Tensor log_sum_exp(DType::kF32, shape.samples * shape.heads * shape.positions);
    Tensor dqkv = random_tensor(GetParam(), 3 * size_of_y(shape), 3);
    attention(pool, shape, qkv.span(), y.span(), log_sum_exp.span());
    const Reference expected(shape, qkv, dy);
    // With bf16, probabilities are rounded before they are multiplied: 2^-9 of each, in random directions.
    expect_close(y, expected.y, GetParam(), GetParam() == DType::kBF16 ? 1e-3 : 2e-6, 2.0);
    expect_close(log_sum_exp, expected.log_sum_exp, DType::kF32, 1e-6, 5.0);
    attention_backward(pool, shape, qkv.span(), y.span(), dy.span(), log_sum_exp.span(), dqkv.span());
    // With bf16, D = y dy' comes from the rounded y.
    expect_close(dqkv, expected.dqkv, GetParam(), GetParam() == DType::kBF16 ? 4e-3 : 5e-6, 4.0);
  }
}

TEST_P(Attention, DoesNotLookAhead) {
  const AttentionShape shape{.samples = 1, .positions = 70, .heads = 1, .head_width = 8};
  Tensor qkv = random_tensor(GetParam(), 3 * size_of_y(shape), 4);
  Tensor before(GetParam(), size_of_y(shape));
  Tensor after(GetParam(), size_of_y(shape));
  Tensor log_sum_exp(DType::kF32, 70);
  attention(pool, shape, qkv.span(), before.span(), log_sum_exp.span());
  for (std::int64_t i = 66 * 24; i < qkv.size(); ++i) qkv.set(i, 9.0);
  attention(pool, shape, qkv.span(), after.span(), log_sum_exp.span());
  for (std::int64_t i = 0; i < 66 * 8; ++i) ASSERT_EQ(after.at(i), before.at(i));
  EXPECT_NE(after.at(66 * 8), before.at(66 * 8));
}

TEST_P(Attention, GivesASampleTheSameBitsInAnyBatchAndOnAnyNumberOfThreads) {
  const AttentionShape shape{.samples = 3, .positions = 77, .heads = 2, .head_width = 24};
  expect_same_bits_on_any_number_of_threads([&](ThreadPool& threads) {
    Tensor qkv = random_tensor(GetParam(), 3 * size_of_y(shape), 5);
    Tensor dy = random_tensor(GetParam(), size_of_y(shape), 6);
    Tensor y(GetParam(), size_of_y(shape));
    Tensor log_sum_exp(DType::kF32, 3 * 2 * 77);
    Tensor dqkv(GetParam(), 3 * size_of_y(shape));
    attention(threads, shape, qkv.span(), y.span(), log_sum_exp.span());
    attention_backward(threads, shape, qkv.span(), y.span(), dy.span(), log_sum_exp.span(), dqkv.span());
    AttentionShape one = shape;
    one.samples = 1;
    const std::int64_t size = size_of_y(one);
    Tensor alone(GetParam(), size);
    Tensor log_sum_exp_alone(DType::kF32, 2 * 77);
    attention(threads, one, qkv.span().subspan(6 * size, 3 * size), alone.span(), log_sum_exp_alone.span());
    for (std::int64_t i = 0; i < size; ++i) EXPECT_EQ(alone.at(i), y.at(2 * size + i));
    return Outputs{y.bytes(), log_sum_exp.bytes(), dqkv.bytes()};
  });
}

}  // namespace
}  // namespace ballast
