#include <limits>

#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

const std::vector<std::int64_t> kSizes = {0, 1, 3, 4, 15, 16, 17, 63, 100, 1000, 16384, 16385, 70001};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Elementwise = KernelTest;
INSTANTIATE_TEST_SUITE_P(Types, Elementwise, testing::Values(DType::kF32, DType::kBF16), type_name);

/// What the elementwise kernels give for x, and what a double-precision loop gives.
void expect_unary(ThreadPool& pool, DType dtype, void (*kernel)(ThreadPool&, ConstDeviceSpan, DeviceSpan),
                  double (*reference)(double), double relative, double scale) {
  for (const std::int64_t size : kSizes) {
    Tensor x = random_tensor(dtype, size, 7, -6.0, 6.0);
    Tensor y(dtype, size);
    kernel(pool, x.span(), y.span());
    std::vector<double> expected;
    for (std::int64_t i = 0; i < size; ++i) expected.push_back(reference(x.at(i)));
    expect_close(y, expected, dtype, relative, scale);
    kernel(pool, x.span(), x.span());
    EXPECT_EQ(x.bytes(), y.bytes()) << "in place, size " << size;
  }
}

double gelu_reference(double x) {
  return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
}

double gelu_slope(double x) {
  const double c = std::sqrt(2.0 / M_PI);
  const double t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044715 * x * x);
}

TEST_P(Elementwise, AddsAndMayWriteOverAnAddend) {
  for (const std::int64_t size : kSizes) {
    Tensor a = random_tensor(GetParam(), size, 1);
    Tensor b = random_tensor(GetParam(), size, 2);
    Tensor y(GetParam(), size);
    add(pool, a.span(), b.span(), y.span());
    std::vector<double> expected;
    for (std::int64_t i = 0; i < size; ++i) expected.push_back(a.at(i) + b.at(i));
    expect_close(y, expected, GetParam(), 0.0);
    add(pool, a.span(), b.span(), b.span());
    EXPECT_EQ(b.bytes(), y.bytes());
    b = random_tensor(GetParam(), size, 2);
    add(pool, a.span(), b.span(), a.span());
    EXPECT_EQ(a.bytes(), y.bytes());
  }
}

TEST_P(Elementwise, ReluCutsOffNegatives) {
  expect_unary(
      pool, GetParam(), relu, [](double x) { return std::max(x, 0.0); }, 0.0, 0.0);
}

TEST_P(Elementwise, ReluBackwardPassesWhereTheOutputIsPositive) {
  for (const std::int64_t size : kSizes) {
    Tensor y = random_tensor(GetParam(), size, 3);
    if (size > 2) y.set(2, 0.0);
    Tensor dy = random_tensor(GetParam(), size, 4);
    Tensor dx(GetParam(), size);
    relu_backward(pool, y.span(), dy.span(), dx.span());
    for (std::int64_t i = 0; i < size; ++i) ASSERT_EQ(dx.at(i), y.at(i) > 0.0 ? dy.at(i) : 0.0);
    relu_backward(pool, y.span(), dy.span(), dy.span());
    EXPECT_EQ(dy.bytes(), dx.bytes());
  }
}

TEST_P(Elementwise, GeluIsTheTanhForm) { expect_unary(pool, GetParam(), gelu, gelu_reference, 6e-6, 0.0); }

TEST_P(Elementwise, GeluBackwardIsItsSlope) {
  for (const std::int64_t size : kSizes) {
    Tensor x = random_tensor(GetParam(), size, 5, -6.0, 6.0);
    Tensor dy = random_tensor(GetParam(), size, 6);
    Tensor dx(GetParam(), size);
    gelu_backward(pool, x.span(), dy.span(), dx.span());
    std::vector<double> expected;
    for (std::int64_t i = 0; i < size; ++i) expected.push_back(dy.at(i) * gelu_slope(x.at(i)));
    expect_close(dx, expected, GetParam(), 1e-6, 1.0);
    gelu_backward(pool, x.span(), dy.span(), dy.span());
    EXPECT_EQ(dy.bytes(), dx.bytes());
  }
}

TEST_P(Elementwise, AnElementDoesNotDependOnItsPlace) {
  Tensor x = random_tensor(GetParam(), 1000, 9, -6.0, 6.0);
  Tensor whole(GetParam(), 1000);
  gelu(pool, x.span(), whole.span());
  for (const std::int64_t begin : {1, 5, 993}) {
    Tensor part(GetParam(), 1000 - begin);
    gelu(pool, x.span().subspan(begin, 1000 - begin), part.span());
    for (std::int64_t i = begin; i < 1000; ++i) ASSERT_EQ(part.at(i - begin), whole.at(i));
  }
}

TEST_P(Elementwise, ZeroClearsTheSpanOnly) {
  for (const std::int64_t size : kSizes) {
    Tensor x = random_tensor(GetParam(), size, 10);
    zero(pool, x.span());
    for (std::int64_t i = 0; i < size; ++i) ASSERT_EQ(x.at(i), 0.0);
    EXPECT_TRUE(x.intact());
  }
}

TEST_P(Elementwise, RefusesSpansOfDifferentSize) {
  Tensor a(GetParam(), 4);
  Tensor b(GetParam(), 5);
  EXPECT_THROW(add(pool, a.span(), b.span(), a.span()), Error);
  EXPECT_THROW(relu(pool, a.span(), b.span()), Error);
  EXPECT_THROW(convert(pool, a.span(), b.span()), Error);
}

TEST(Convert, RoundsToNearestEven) {
  ThreadPool pool(2);
  // Halfway between neighbours 1 and 1 + 2^-7: to the even one; a little above: up.
  const std::vector<std::pair<float, float>> cases = {
      {1.0F, 1.0F},
      {1.00390625F, 1.0F},
      {1.01171875F, 1.015625F},
      {1.00390637F, 1.0078125F},
      {-1.00390625F, -1.0F},
      {-1.01171875F, -1.015625F},
      {0.0F, 0.0F},
      {-0.0F, -0.0F},
      {1e-40F, widen(narrow(1e-40F))},
      {3.3895314e38F, 3.3895314e38F},
      {3.4028235e38F, std::numeric_limits<float>::infinity()},
      {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()},
      {-std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()},
  };
  Tensor from(DType::kF32, std::ssize(cases));
  Tensor to(DType::kBF16, std::ssize(cases));
  for (std::size_t i = 0; i < cases.size(); ++i)
    from.set(static_cast<std::int64_t>(i), static_cast<double>(cases[i].first));
  convert(pool, from.span(), to.span());
  for (std::size_t i = 0; i < cases.size(); ++i) {
    EXPECT_EQ(to.at(static_cast<std::int64_t>(i)), static_cast<double>(cases[i].second)) << cases[i].first;
    EXPECT_EQ(std::signbit(to.at(static_cast<std::int64_t>(i))), std::signbit(cases[i].second));
  }
}

TEST(Convert, RoundsEveryBitPatternAsTheScalarRule) {
  ThreadPool pool(2);
  constexpr std::int64_t kSize = 1 << 20;
  Tensor from(DType::kF32, kSize);
  for (std::int64_t i = 0; i < kSize; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(i) * 4099U;
    std::memcpy(static_cast<std::byte*>(from.span().data) + i * 4, &bits, 4);
  }
  Tensor to(DType::kBF16, kSize);
  convert(pool, from.span(), to.span());
  const auto* x = static_cast<const float*>(from.span().data);
  const auto* y = static_cast<const Bf16*>(to.span().data);
  for (std::int64_t i = 0; i < kSize; ++i) ASSERT_EQ(y[i], narrow(x[i])) << std::bit_cast<std::uint32_t>(x[i]);
}

TEST(Convert, KeepsNanAndInfinity) {
  ThreadPool pool(1);
  // Payloads that rounding would carry into infinity or into the sign.
  const std::vector<std::uint32_t> nans = {0x7F800001U, 0x7FFFFFFFU, 0xFFFFFFFFU, 0xFF800001U, 0x7FC00000U};
  Tensor from(DType::kF32, std::ssize(nans));
  std::memcpy(from.span().data, nans.data(), nans.size() * 4);
  Tensor to(DType::kBF16, std::ssize(nans));
  Tensor back(DType::kF32, std::ssize(nans));
  convert(pool, from.span(), to.span());
  convert(pool, to.span(), back.span());
  for (std::int64_t i = 0; i < back.size(); ++i) EXPECT_TRUE(std::isnan(back.at(i))) << i;
  Tensor infinite(DType::kF32, std::vector<double>{kInfinity, -kInfinity});
  Tensor narrowed(DType::kBF16, 2);
  convert(pool, infinite.span(), narrowed.span());
  EXPECT_EQ(narrowed.at(0), kInfinity);
  EXPECT_EQ(narrowed.at(1), -kInfinity);
}

TEST(Convert, WideningIsExactAndTheWayBackToo) {
  ThreadPool pool(2);
  Tensor from(DType::kBF16, 65536);
  for (std::int64_t i = 0; i < 65536; ++i) static_cast<Bf16*>(from.span().data)[i] = static_cast<Bf16>(i);
  Tensor wide(DType::kF32, 65536);
  Tensor back(DType::kBF16, 65536);
  convert(pool, from.span(), wide.span());
  convert(pool, wide.span(), back.span());
  for (std::int64_t i = 0; i < 65536; ++i) {
    if (std::isnan(from.at(i))) continue;
    ASSERT_EQ(wide.at(i), from.at(i));
    ASSERT_EQ(static_cast<Bf16*>(back.span().data)[i], i);
  }
}

TEST(Convert, CopiesOneTypeToItself) {
  ThreadPool pool(2);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI32}) {
    Tensor from = random_tensor(dtype, 40001, 11, -1000.0, 1000.0);
    Tensor to(dtype, 40001);
    convert(pool, from.span(), to.span());
    EXPECT_EQ(from.bytes(), to.bytes());
  }
  Tensor integers(DType::kI32, 3);
  Tensor floats(DType::kF32, 3);
  EXPECT_THROW(convert(pool, integers.span(), floats.span()), Error);
}

TEST(VectorTarget, HasAName) { EXPECT_GT(std::strlen(vector_target()), 0U); }

}  // namespace
}  // namespace ballast
