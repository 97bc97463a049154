// matmul and bias_backward on any backend.
#include <tuple>

#include "tests/compute/operation_case.h"

namespace ballast {
namespace {

struct Sizes {
  std::int64_t m, n, k;
};

struct Types {
  DType in, out;
};

constexpr Types kF32ToF32{DType::kF32, DType::kF32};
constexpr Types kBF16ToBF16{DType::kBF16, DType::kBF16};
constexpr Types kBF16ToF32{DType::kBF16, DType::kF32};

class OperationsMatmul : public testing::TestWithParam<std::tuple<Sizes, bool, bool>> {
 protected:
  void expect_product(Types types, bool accumulate, bool with_bias) const {
    const auto& [sizes, transpose_a, transpose_b] = GetParam();
    SCOPED_TRACE(std::string(name_of(types.in)) + " to " + name_of(types.out) + (accumulate ? ", accumulate" : "") +
                 (with_bias ? ", bias" : ""));
    const MatmulShape shape{sizes.m, sizes.n, sizes.k, transpose_a, transpose_b, accumulate};
    Tolerance tolerance = tolerance_of_sum(sizes.k + 2, 0.25);
    // The bias, below 1, may be rounded to bf16 on its own.
    if (types.out == DType::kBF16 && with_bias) tolerance = {.relative = 0x1p-9, .scale = 1.1};
    const auto before = accumulate ? random_values(types.out, sizes.m * sizes.n, 4, -1.0, 1.0)
                                   : std::vector<double>(static_cast<std::size_t>(sizes.m * sizes.n), kNan);
    OperationCase c;
    const int a = c.reads("a", types.in, random_values(types.in, sizes.m * sizes.k, 1, -1.0, 1.0));
    const int b = c.reads("b", types.in, random_values(types.in, sizes.k * sizes.n, 2, -1.0, 1.0));
    // Behind another parameter of 16 bytes, the least alignment that libraries are sure to take.
    const int bias = c.reads("bias", DType::kF32, random_values(DType::kF32, 4 + sizes.n, 3, -1.0, 1.0));
    const int product = c.updates("c", types.out, before, tolerance);
    c.check(*backend_, [&](Backend& on, const Arguments& t) {
      on.matmul(shape, t[a], t[b], with_bias ? t[bias].subspan(4, sizes.n) : DeviceSpan{}, t[product]);
    });
  }

 private:
  std::unique_ptr<Backend> backend_ = backend_under_test();
};

TEST_P(OperationsMatmul, MatchesDoublePrecisionInF32) {
  for (const bool accumulate : {false, true}) {
    for (const bool with_bias : {false, true}) expect_product(kF32ToF32, accumulate, with_bias);
  }
}

TEST_P(OperationsMatmul, MatchesDoublePrecisionInBF16) {
  for (const bool with_bias : {false, true}) {
    expect_product(kBF16ToBF16, false, with_bias);
    expect_product(kBF16ToF32, false, with_bias);
    expect_product(kBF16ToF32, true, with_bias);
  }
}

constexpr Sizes kShapes[] = {{1, 1, 1}, {1, 1, 37},   {1, 33, 1},   {7, 1, 5},
                             {3, 5, 7}, {17, 31, 65}, {32, 48, 64}, {65, 50, 129}};

INSTANTIATE_TEST_SUITE_P(Shapes, OperationsMatmul,
                         testing::Combine(testing::ValuesIn(kShapes), testing::Bool(), testing::Bool()));

// No rows of activations: an empty shard.
constexpr Sizes kEmptyShapes[] = {{0, 4, 3}};

INSTANTIATE_TEST_SUITE_P(Empty, OperationsMatmul,
                         testing::Combine(testing::ValuesIn(kEmptyShapes), testing::Values(false),
                                          testing::Values(false)));

BALLAST_BOTH_TYPES(OperationsMatmulGelu);

TEST_P(OperationsMatmulGelu, WritesTheProductAndItsGelu) {
  const DType type = GetParam();
  for (const auto& [m, n, k] : {Sizes{0, 8, 3}, Sizes{1, 1, 1}, Sizes{5, 24, 9}, Sizes{17, 40, 65}, Sizes{9, 30, 16}}) {
    for (const bool with_bias : {false, true}) {
      SCOPED_TRACE(std::to_string(n) + " columns" + (with_bias ? ", bias" : ""));
      const MatmulShape shape{.m = m, .n = n, .k = k, .transpose_b = true};
      Tolerance tolerance = tolerance_of_sum(k + 2, 0.25);
      // The bias may be rounded on its own, and gelu, of a slope below 1.13, may be taken of the rounded product.
      if (type == DType::kBF16) tolerance = {.relative = 0x1p-8, .scale = 1.5};
      OperationCase c;
      const int a = c.reads("a", type, random_values(type, m * k, 1, -1.0, 1.0));
      const int b = c.reads("b", type, random_values(type, n * k, 2, -1.0, 1.0));
      const int bias = c.reads("bias", DType::kF32, random_values(DType::kF32, n, 3, -1.0, 1.0));
      const int x = c.writes("x", type, m * n, tolerance);
      const int y = c.writes("y", type, m * n, tolerance);
      const int only_y = c.writes("y alone", type, m * n, tolerance);
      c.check(*backend, [&](Backend& on, const Arguments& t) {
        const ConstDeviceSpan added = with_bias ? t[bias] : DeviceSpan{};
        on.matmul_gelu(shape, t[a], t[b], added, t[x], t[y]);
        on.matmul_gelu(shape, t[a], t[b], added, {}, t[only_y]);
      });
    }
  }
}

BALLAST_BOTH_TYPES(OperationsBias);

TEST_P(OperationsBias, BackwardAddsTheSumOverRows) {
  for (const auto& [rows, columns] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {0, 5}, {1, 1}, {1, 17}, {3, 1}, {7, 3}, {31, 16}, {65, 33}, {257, 40}, {700, 3}, {5, 515}}) {
    OperationCase c;
    const int dy = c.reads("dy", GetParam(), random_values(GetParam(), rows * columns, 1));
    const int dbias =
        c.updates("dbias", DType::kF32, random_values(DType::kF32, columns, 2), tolerance_of_sum(rows + 1, 1.0));
    c.check(*backend, [&, count = rows](Backend& on, const Arguments& t) { on.bias_backward(count, t[dy], t[dbias]); });
  }
}

}  // namespace
}  // namespace ballast
