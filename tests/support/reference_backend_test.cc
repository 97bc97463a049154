// The yardstick itself, against numbers worked out by hand.
#include "tests/support/reference_backend.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "tests/support/reference_elements.h"

namespace ballast {
namespace {

DeviceSpan of(std::vector<double>& x) { return {x.data(), static_cast<std::int64_t>(x.size()), DType::kF64}; }
DeviceSpan of(std::vector<std::int32_t>& x) { return {x.data(), static_cast<std::int64_t>(x.size()), DType::kI32}; }

void expect_near(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-9) << "element " << i;
}

TEST(ReferenceBackend, RoundsBf16ToNearestEven) {
  std::vector<std::uint16_t> halves(4);
  const DeviceSpan x{halves.data(), 4, DType::kBF16};
  store(x, 0, 1.0 + 0x1p-8);           // halfway, even below
  store(x, 1, 1.0 + 0x1p-7 + 0x1p-8);  // halfway, even above
  store(x, 2, -3.0);
  store(x, 3, std::nan(""));
  EXPECT_EQ(load(x, 0), 1.0);
  EXPECT_EQ(load(x, 1), 1.0 + 0x1p-6);
  EXPECT_EQ(load(x, 2), -3.0);
  EXPECT_TRUE(std::isnan(load(x, 3)));
}

TEST(ReferenceBackend, MultipliesInAllTranspositions) {
  ReferenceBackend backend;
  // a = [1 2 3; 4 5 6], b = [1 0; 2 1; 0 3]: a b = [5 11; 14 23]
  std::vector<double> a = {1, 2, 3, 4, 5, 6}, at = {1, 4, 2, 5, 3, 6};
  std::vector<double> b = {1, 0, 2, 1, 0, 3}, bt = {1, 2, 0, 0, 1, 3};
  std::vector<double> bias = {100, 200}, c(4);
  backend.matmul({.m = 2, .n = 2, .k = 3}, of(a), of(b), {}, of(c));
  expect_near(c, {5, 11, 14, 23});
  backend.matmul({.m = 2, .n = 2, .k = 3, .transpose_b = true}, of(a), of(bt), of(bias), of(c));
  expect_near(c, {105, 211, 114, 223});
  backend.matmul({.m = 2, .n = 2, .k = 3, .transpose_a = true, .accumulate = true}, of(at), of(b), {}, of(c));
  expect_near(c, {110, 222, 128, 246});
}

TEST(ReferenceBackend, ConvolvesWithPaddingAndStride) {
  ReferenceBackend backend;
  std::vector<double> x(9), w(9, 1.0), y(4);
  std::iota(x.begin(), x.end(), 1.0);
  const ConvShape shape{
      .samples = 1, .rows = 3, .columns = 3, .inputs = 1, .outputs = 1, .kernel = 3, .stride = 2, .pad = 1};
  ASSERT_EQ(shape.out_rows(), 2);
  backend.conv2d(shape, of(x), of(w), of(y));
  expect_near(y, {1 + 2 + 4 + 5, 2 + 3 + 5 + 6, 4 + 5 + 7 + 8, 5 + 6 + 8 + 9});
  std::vector<double> dy = {1, 0, 0, 10}, dx(9), dw(9, 0.5);
  backend.conv2d_backward_data(shape, of(dy), of(w), of(dx));
  expect_near(dx, {1, 1, 0, 1, 11, 10, 0, 10, 10});
  backend.conv2d_backward_weights(shape, of(x), of(dy), of(dw));
  expect_near(dw, {0.5 + 50, 0.5 + 60, 0.5, 0.5 + 80, 0.5 + 1 + 90, 0.5 + 2, 0.5, 0.5 + 4, 0.5 + 5});
}

TEST(ReferenceBackend, NormalisesChannelsAndRows) {
  ReferenceBackend backend;
  std::vector<double> x = {0, 10, 2, 30}, gamma = {1, 2}, beta = {0, 5}, y(4), mean(2), inv(2), var(2);
  backend.batch_norm({.rows = 2}, of(x), {}, of(gamma), of(beta), of(y), of(mean), of(inv), of(var));
  const double one = 1.0 / std::sqrt(1.0 + 1e-5), hundred = 10.0 / std::sqrt(100.0 + 1e-5);
  expect_near(mean, {1, 20});
  expect_near(var, {1, 100});
  expect_near(y, {-one, 5 - 2 * hundred, one, 5 + 2 * hundred});
  backend.layer_norm(2, of(x), of(gamma), of(beta), of(y), of(mean), of(inv));
  const double five = 5.0 / std::sqrt(25.0 + 1e-5), fourteen = 14.0 / std::sqrt(196.0 + 1e-5);
  expect_near(mean, {5, 16});
  expect_near(y, {-five, 5 + 2 * five, -fourteen, 5 + 2 * fourteen});
}

TEST(ReferenceBackend, AttendsOnlyToThePast) {
  ReferenceBackend backend;
  // One head of width 1, two positions: q = (1, 1), k = (0, log 3), v = (2, 6). Position 1 weighs them 1 : 3.
  std::vector<double> qkv = {1, 0, 2, 1, std::log(3.0), 6}, y(2), lse(2);
  backend.attention({.samples = 1, .positions = 2, .heads = 1, .head_width = 1}, of(qkv), of(y), of(lse));
  expect_near(y, {2, 5});
  expect_near(lse, {0, std::log(4.0)});
}

TEST(ReferenceBackend, CountsOnlyRowsWithATarget) {
  ReferenceBackend backend;
  std::vector<double> logits = {0, std::log(3.0), 5, 5, 1, 2}, lse(3), dlogits(6);
  std::vector<std::int32_t> targets = {1, 0, -1};
  LossSums sums;
  backend.softmax_cross_entropy(3, of(logits), of(targets), of(lse), sums);
  EXPECT_NEAR(sums.loss, std::log(4.0 / 3.0) + std::log(2.0), 1e-12);
  EXPECT_EQ(sums.rows, 2);
  EXPECT_EQ(sums.correct, 2) << "the lowest index wins a tie";
  backend.softmax_cross_entropy_backward(3, of(logits), of(targets), of(lse), 2.0F, of(dlogits));
  expect_near(dlogits, {0.5, -0.5, -1, 1, 0, 0});
}

TEST(ReferenceBackend, UpdatesAsTheFormulasSay) {
  ReferenceBackend backend;
  std::vector<double> w = {1.0}, g = {2.0}, m = {0.5}, v = {4.0};
  UpdateRule rule{.kind = UpdateKind::kAdam,
                  .lr = 0.5F,
                  .gradient_scale = 0.5F,
                  .weight_decay = 0.25F,
                  .l1 = 1.0F,
                  .l2 = 2.0F,
                  .beta1 = 0.5F,
                  .beta2 = 0.75F,
                  .correction1 = 2.0F,
                  .correction2 = 4.0F,
                  .want_sums = true};
  const UpdateSums sums =
      backend.update(rule, {.value = of(w), .compute = {}, .gradient = of(g), .state = {of(m), of(v)}});
  // g' = 1 + 2 + 1 = 4; m = 0.25 + 2; v = 3 + 4; w = 1 - 0.125 - 0.5 * 4.5 / sqrt(28)
  const double want = 0.875 - 0.5 * 4.5 / std::sqrt(28.0);
  expect_near(w, {want});
  expect_near(m, {2.25});
  expect_near(v, {7.0});
  EXPECT_NEAR(sums.value_squares, want * want, 1e-12);
  EXPECT_NEAR(sums.change_squares, (1 - want) * (1 - want), 1e-12);
}

TEST(ReferenceBackend, AddsInTheOrderOfTheTree) {
  ReferenceBackend backend;
  std::vector<float> a = {1e8F}, b = {-1e8F}, c = {1.0F}, sum = {0.0F};
  const auto span = [](std::vector<float>& x) { return DeviceSpan{x.data(), 1, DType::kF32}; };
  const std::array<ConstDeviceSpan, 3> addends = {span(a), span(b), span(c)};
  backend.ordered_sum(addends, std::array{0, 1, -1, 2, -1}, span(sum));
  EXPECT_EQ(sum[0], 1.0F);
  backend.ordered_sum(addends, std::array{0, 1, 2, -1, -1}, span(sum));
  EXPECT_EQ(sum[0], 0.0F) << "b + c loses c";
}

}  // namespace
}  // namespace ballast
