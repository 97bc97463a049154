// Matrix products of the CPU backend against loops in double precision, and bit for bit against themselves on other
// numbers of threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>

#include "compute/backend.h"
#include "tests/compute/host_tensor.h"

namespace ballast {
namespace {

struct Sizes {
  std::int64_t m, n, k;
};

struct Types {
  DType in, out;
};

struct Case {
  MatmulShape shape;
  Types types;
  bool with_bias = false;
  HostTensor a, b, bias, c;
};

Case make_case(Sizes sizes, bool transpose_a, bool transpose_b, Types types, bool accumulate, bool with_bias) {
  Case made;
  made.shape = {sizes.m, sizes.n, sizes.k, transpose_a, transpose_b, accumulate};
  made.types = types;
  made.with_bias = with_bias;
  made.a = HostTensor::random(sizes.m * sizes.k, types.in, 1);
  made.b = HostTensor::random(sizes.k * sizes.n, types.in, 2);
  made.bias = HostTensor::random(with_bias ? sizes.n : 0, DType::kF32, 3);
  made.c = HostTensor::random(sizes.m * sizes.n, types.out, 4);
  return made;
}

std::vector<std::byte> run(const Case& of, int threads) {
  const auto backend = make_backend({.name = "cpu", .threads = threads});
  const DeviceTensor a(*backend, of.a);
  const DeviceTensor b(*backend, of.b);
  const DeviceTensor bias(*backend, of.bias);
  const DeviceTensor c(*backend, of.c);
  backend->matmul(of.shape, a.span(), b.span(), of.with_bias ? bias.span() : DeviceSpan{}, c.span());
  return c.bytes();
}

/// Row-major [rows, columns] in double, whatever the way it is stored.
std::vector<double> plain(const HostTensor& x, std::int64_t rows, std::int64_t columns, bool transposed) {
  std::vector<double> out(x.values.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const auto from = static_cast<std::size_t>(transposed ? column * rows + row : row * columns + column);
      out[static_cast<std::size_t>(row * columns + column)] = x.values[from];
    }
  }
  return out;
}

/// Worst error over its bound. The rounding errors of a sum of k products wander like a random walk of steps 2^-24 *
/// |product|, so the bound is 8 * sqrt(k) * 2^-24 * mean |product| * k (the mean size of a partial sum is far below),
/// plus half a unit of the last place of c where c is bf16. A product that is missing or counted twice is sqrt(k) *
/// 2^24 / (8 k) times above it.
double worst_error(const Case& of, const std::vector<std::byte>& result) {
  const auto& shape = of.shape;
  const auto a = plain(of.a, shape.m, shape.k, shape.transpose_a);
  const auto b = plain(of.b, shape.k, shape.n, shape.transpose_b);
  const HostTensor c = HostTensor::of_bytes(result, of.types.out);
  const auto n = static_cast<std::size_t>(shape.n);
  const auto k = static_cast<std::size_t>(shape.k);
  double worst = 0.0;
  for (std::size_t row = 0; row < static_cast<std::size_t>(shape.m); ++row) {
    std::vector<double> exact(n, 0.0);
    std::vector<double> size(n, 0.0);
    for (std::size_t i = 0; i < k; ++i) {
      for (std::size_t column = 0; column < n; ++column) {
        const double product = a[row * k + i] * b[i * n + column];
        exact[column] += product;
        size[column] += std::abs(product);
      }
    }
    for (std::size_t column = 0; column < n; ++column) {
      const double start =
          (of.with_bias ? of.bias.values[column] : 0.0) + (shape.accumulate ? of.c.values[row * n + column] : 0.0);
      const double want = exact[column] + start;
      double bound = 8.0 * std::sqrt(static_cast<double>(k)) * 0x1p-24 * (size[column] + std::abs(start));
      if (of.types.out == DType::kBF16) bound += 0x1p-8 * std::abs(want);
      worst = std::max(worst, std::abs(c.values[row * n + column] - want) / (bound + 1e-30));
    }
  }
  return worst;
}

std::string describe(const Case& of) {
  const auto& shape = of.shape;
  return "m " + std::to_string(shape.m) + ", n " + std::to_string(shape.n) + ", k " + std::to_string(shape.k) +
         (shape.transpose_a ? ", a transposed" : "") + (shape.transpose_b ? ", b transposed" : "") +
         (shape.accumulate ? ", accumulate" : "") + (of.with_bias ? ", bias, " : ", ") + name_of(of.types.in) + " to " +
         name_of(of.types.out);
}

void expect_right_on_any_number_of_threads(const Case& of) {
  SCOPED_TRACE(describe(of));
  const auto result = run(of, 1);
  EXPECT_LE(worst_error(of, result), 1.0);
  for (const int threads : {2, 3, 5})
    EXPECT_TRUE(run(of, threads) == result) << "bits differ on " << threads << " threads";
}

constexpr Types kF32ToF32{DType::kF32, DType::kF32};
constexpr Types kBF16ToBF16{DType::kBF16, DType::kBF16};
constexpr Types kBF16ToF32{DType::kBF16, DType::kF32};

using Parameters = std::tuple<Sizes, bool, bool>;

class MatmulOfAnyShape : public testing::TestWithParam<Parameters> {
 protected:
  [[nodiscard]] static Case make(Types types, bool accumulate, bool with_bias) {
    const auto& [sizes, transpose_a, transpose_b] = GetParam();
    return make_case(sizes, transpose_a, transpose_b, types, accumulate, with_bias);
  }
};

TEST_P(MatmulOfAnyShape, MatchesDoublePrecisionInF32) {
  for (const bool accumulate : {false, true}) {
    for (const bool with_bias : {false, true}) {
      expect_right_on_any_number_of_threads(make(kF32ToF32, accumulate, with_bias));
    }
  }
}

TEST_P(MatmulOfAnyShape, MatchesDoublePrecisionInBF16) {
  for (const bool with_bias : {false, true}) {
    expect_right_on_any_number_of_threads(make(kBF16ToBF16, false, with_bias));
    expect_right_on_any_number_of_threads(make(kBF16ToF32, false, with_bias));
    expect_right_on_any_number_of_threads(make(kBF16ToF32, true, with_bias));
  }
}

constexpr Sizes kShapes[] = {{1, 1, 1},    {1, 1, 37},    {1, 33, 1},     {7, 1, 5},      {1, 770, 96},  {3, 5, 7},
                             {17, 31, 65}, {64, 10, 784}, {130, 50, 257}, {255, 513, 70}, {301, 777, 33}};

INSTANTIATE_TEST_SUITE_P(Small, MatmulOfAnyShape,
                         testing::Combine(testing::ValuesIn(kShapes), testing::Bool(), testing::Bool()));

// Cut into tiles of several sizes, the last of an axis being shorter.
constexpr Sizes kTiledShapes[] = {{530, 1040, 24}, {300, 1601, 17}};

INSTANTIATE_TEST_SUITE_P(Tiled, MatmulOfAnyShape,
                         testing::Combine(testing::ValuesIn(kTiledShapes), testing::Bool(), testing::Bool()));

// Few outputs and a long sum, as the weight gradient of a narrow layer: cut along k.
constexpr Sizes kTallShapes[] = {{10, 33, 4096}, {40, 33, 9001}, {128, 10, 8192}, {257, 20, 4100}};

INSTANTIATE_TEST_SUITE_P(TallK, MatmulOfAnyShape,
                         testing::Combine(testing::ValuesIn(kTallShapes), testing::Bool(), testing::Values(false)));

TEST(Matmul, GivesTheSameBitsWhenCalledAgain) {
  const Case of = make_case({300, 500, 200}, true, false, kBF16ToF32, true, false);
  EXPECT_TRUE(run(of, 2) == run(of, 2));
}

TEST(Matmul, LeavesAnEmptyProductAlone) {
  const auto backend = make_backend({.name = "cpu", .threads = 2});
  const DeviceTensor b(*backend, HostTensor::random(12, DType::kF32, 1));
  EXPECT_NO_THROW(backend->matmul({0, 4, 3}, {nullptr, 0}, b.span(), {}, {nullptr, 0}));
}

TEST(Matmul, RefusesOperandsThatDoNotFit) {
  const auto backend = make_backend({.name = "cpu", .threads = 1});
  const DeviceTensor x(*backend, HostTensor::random(12, DType::kF32, 1));
  const DeviceTensor half(*backend, HostTensor::random(12, DType::kBF16, 1));
  const DeviceTensor c(*backend, HostTensor::random(9, DType::kF32, 1));
  const DeviceTensor half_c(*backend, HostTensor::random(9, DType::kBF16, 1));
  EXPECT_NO_THROW(backend->matmul({3, 3, 4}, x.span(), x.span(), {}, c.span()));
  EXPECT_THROW(backend->matmul({3, 3, 5}, x.span(), x.span(), {}, c.span()), Error);
  EXPECT_THROW(backend->matmul({3, 3, 4}, x.span(), half.span(), {}, c.span()), Error);
  EXPECT_THROW(backend->matmul({3, 3, 4}, x.span(), x.span(), {}, half_c.span()), Error);
  EXPECT_THROW(backend->matmul({3, 3, 4}, x.span(), x.span(), x.span(), c.span()), Error);
  EXPECT_THROW(backend->matmul({3, 3, 4, false, false, true}, half.span(), half.span(), {}, half_c.span()), Error);
}

}  // namespace
}  // namespace ballast
