#include "compute/cpu/bf16_gemm.h"

#include <array>
#include <tuple>

#include "compute/cpu/aligned_memory.h"
#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

constexpr const char* kNoKernels = "this processor has no AVX512-BF16, or its use is switched off";

constexpr Bf16 kNotRead = 0x7FC0;  // NaN: shows in every sum that it enters
constexpr float kNotWritten = 12345.0F;

/// A matrix with gaps between what is stored, which nobody may read.
struct Matrix {
  std::int64_t rows, columns, stride;
  bool transposed;
  std::vector<Bf16> stored;

  Matrix(std::int64_t row_count, std::int64_t column_count, bool is_transposed, std::int64_t gap, std::uint64_t key)
      : rows(row_count),
        columns(column_count),
        stride((is_transposed ? row_count : column_count) + gap),
        transposed(is_transposed),
        stored(static_cast<std::size_t>(stride * (is_transposed ? column_count : row_count)), kNotRead) {
    const auto values = random_values(rows * columns, key);
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        stored[place(i, j)] = narrow(static_cast<float>(values[static_cast<std::size_t>(i * columns + j)]));
      }
    }
  }
  [[nodiscard]] std::size_t place(std::int64_t i, std::int64_t j) const {
    return static_cast<std::size_t>(transposed ? j * stride + i : i * stride + j);
  }
  [[nodiscard]] double at(std::int64_t i, std::int64_t j) const {
    return static_cast<double>(widen(stored[place(i, j)]));
  }
  [[nodiscard]] Bf16Operand from(std::int64_t i, std::int64_t j) const {
    return {stored.data() + place(i, j), stride, transposed};
  }
};

/// The sum over k of a_MK b_KN and of the sizes of its addends, in f64.
struct Exact {
  double sum = 0.0, size = 0.0;
  Exact(const Matrix& a, const Matrix& b, std::int64_t i, std::int64_t j, std::int64_t depth) {
    for (std::int64_t k = 0; k < depth; ++k) {
      sum += a.at(i, k) * b.at(k, j);
      size += std::abs(a.at(i, k) * b.at(k, j));
    }
  }
};

/// c_MN in either type, its rows `gap` apart; starts as numbers that accumulating adds to.
struct Result {
  std::int64_t n, stride;
  bool is_bf16;
  std::vector<float> wide;
  std::vector<Bf16> narrowed;

  Result(std::int64_t rows, std::int64_t columns, bool bf16, std::int64_t gap)
      : n(columns),
        stride(columns + gap),
        is_bf16(bf16),
        wide(static_cast<std::size_t>(rows * stride), kNotWritten),
        narrowed(static_cast<std::size_t>(rows * stride), narrow(kNotWritten)) {}
  [[nodiscard]] void* data() { return is_bf16 ? static_cast<void*>(narrowed.data()) : wide.data(); }
  [[nodiscard]] double at(std::int64_t i, std::int64_t j) const {
    const auto place = static_cast<std::size_t>(i * stride + j);
    return static_cast<double>(is_bf16 ? widen(narrowed[place]) : wide[place]);
  }
};

void multiply(const Matrix& a, const Matrix& b, const float* bias, bool accumulate, Result& c) {
  AlignedMemory scratch;
  bf16_gemm({.m = a.rows,
             .n = b.columns,
             .k = a.columns,
             .a = a.from(0, 0),
             .b = b.from(0, 0),
             .bias = bias,
             .c = c.data(),
             .c_stride = c.stride,
             .c_is_bf16 = c.is_bf16,
             .accumulate = accumulate},
            scratch.at_least(bf16_gemm_scratch(a.rows, b.columns, a.columns)));
}

void expect_product(const Matrix& a, const Matrix& b, const std::vector<float>& bias, bool accumulate, Result& c) {
  multiply(a, b, bias.empty() ? nullptr : bias.data(), accumulate, c);
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t j = 0; j < c.stride; ++j) {
      if (j >= c.n) {
        ASSERT_EQ(c.at(i, j), static_cast<double>(c.is_bf16 ? widen(narrow(kNotWritten)) : kNotWritten));
        continue;
      }
      const Exact exact(a, b, i, j, a.columns);
      const double start = (bias.empty() ? 0.0 : static_cast<double>(bias[static_cast<std::size_t>(j)])) +
                           (accumulate ? static_cast<double>(kNotWritten) : 0.0);
      const double want = exact.sum + start;
      const double allowed = std::sqrt(static_cast<double>(a.columns)) * 0x1p-22 * (exact.size + std::abs(start)) +
                             (c.is_bf16 ? 0x1p-8 * std::abs(want) : 0.0) + 1e-30;
      ASSERT_NEAR(c.at(i, j), want, allowed) << "row " << i << ", column " << j;
    }
  }
}

using Parameters = std::tuple<std::array<std::int64_t, 3>, bool, bool>;

class Bf16GemmOfAnyShape : public testing::TestWithParam<Parameters> {
 protected:
  void SetUp() override {
    if (!has_bf16_kernels()) GTEST_SKIP() << kNoKernels;
  }
};

TEST_P(Bf16GemmOfAnyShape, MatchesDoublePrecisionAndKeepsToItsMatrices) {
  const auto& [sizes, transpose_a, transpose_b] = GetParam();
  const auto& [m, n, k] = sizes;
  for (const std::int64_t gap : {0, 5}) {
    const Matrix a(m, k, transpose_a, gap, 1);
    const Matrix b(k, n, transpose_b, gap, 2);
    std::vector<float> bias;
    for (const double value : random_values(n, 3)) bias.push_back(static_cast<float>(value));
    for (const bool with_bias : {false, true}) {
      const auto& used = with_bias ? bias : std::vector<float>();
      Result rounded(m, n, true, gap);
      Result assigned(m, n, false, gap);
      Result added(m, n, false, gap);
      expect_product(a, b, used, false, rounded);
      expect_product(a, b, used, false, assigned);
      expect_product(a, b, used, true, added);
    }
  }
}

// Around the edges of panels (14 rows, 16 and 32 columns, 32 of k) and of blocks (768 of k).
constexpr std::array<std::int64_t, 3> kSizes[] = {{1, 1, 1},    {1, 16, 2},   {13, 15, 3},   {14, 32, 32}, {15, 33, 31},
                                                  {29, 47, 33}, {43, 17, 65}, {30, 70, 769}, {5, 40, 1601}};

INSTANTIATE_TEST_SUITE_P(Sizes, Bf16GemmOfAnyShape,
                         testing::Combine(testing::ValuesIn(kSizes), testing::Bool(), testing::Bool()));

TEST(Bf16Gemm, GivesAnElementTheSameBitsInAnyTile) {
  if (!has_bf16_kernels()) GTEST_SKIP() << kNoKernels;
  const Matrix a(61, 900, false, 0, 4);
  const Matrix b(900, 90, true, 0, 5);
  Result whole(61, 90, false, 0);
  multiply(a, b, nullptr, false, whole);
  Result tile(61, 90, false, 0);
  AlignedMemory scratch;
  bf16_gemm({.m = 21,
             .n = 50,
             .k = 900,
             .a = a.from(40, 0),
             .b = b.from(0, 31),
             .bias = nullptr,
             .c = tile.data(),
             .c_stride = 90,
             .c_is_bf16 = false,
             .accumulate = false},
            scratch.at_least(bf16_gemm_scratch(21, 50, 900)));
  for (std::int64_t i = 0; i < 21; ++i) {
    for (std::int64_t j = 0; j < 50; ++j) ASSERT_EQ(tile.at(i, j), whole.at(40 + i, 31 + j));
  }
}

TEST(Bf16Gemm, MultipliesTheBeginningOfAPackedMatrix) {
  if (!has_bf16_kernels()) GTEST_SKIP() << kNoKernels;
  const Matrix a(20, 101, false, 0, 6);
  const Matrix b(101, 40, false, 0, 7);
  AlignedMemory a_memory;
  AlignedMemory b_memory;
  auto* const a_packed = reinterpret_cast<Bf16*>(a_memory.at_least(2 * packed_rows_size(20, 101)));
  auto* const b_packed = reinterpret_cast<Bf16*>(b_memory.at_least(2 * packed_columns_size(40, 101)));
  pack_columns(40, 101, b.from(0, 0), b_packed);
  for (const std::int64_t k : {2, 64, 101}) {
    pack_rows(20, k, a.from(0, 0), a_packed);
    Result c(20, 40, false, 0);
    multiply_packed({20, 40, k, a_packed, b_packed, 101}, {.c = c.data(), .c_stride = 40});
    for (std::int64_t i = 0; i < 20; ++i) {
      for (std::int64_t j = 0; j < 40; ++j) ASSERT_NEAR(c.at(i, j), Exact(a, b, i, j, k).sum, 1e-4);
    }
  }
}

TEST(Bf16Gemm, LeavesOutWhatAMaskMakesUnneeded) {
  if (!has_bf16_kernels()) GTEST_SKIP() << kNoKernels;
  constexpr std::int64_t kM = 50;
  constexpr std::int64_t kN = 70;
  constexpr std::int64_t kK = 64;
  const Matrix full(kM, kK, false, 0, 8);
  const Matrix b(kK, kN, false, 0, 9);
  AlignedMemory a_memory;
  AlignedMemory b_memory;
  auto* const a_packed = reinterpret_cast<Bf16*>(a_memory.at_least(2 * packed_rows_size(kM, kK)));
  auto* const b_packed = reinterpret_cast<Bf16*>(b_memory.at_least(2 * packed_columns_size(kN, kK)));
  pack_columns(kN, kK, b.from(0, 0), b_packed);
  for (const Unneeded unneeded : {Unneeded::kLateColumns, Unneeded::kLateK, Unneeded::kEarlyK}) {
    for (const std::int64_t first : {0, 9, 200}) {
      Matrix a = full;
      for (std::int64_t i = 0; i < kM; ++i) {
        for (std::int64_t k = 0; k < kK; ++k) {
          const bool is_zero =
              (unneeded == Unneeded::kLateK && k > first + i) || (unneeded == Unneeded::kEarlyK && i > first + k);
          if (is_zero) a.stored[a.place(i, k)] = 0;
        }
      }
      pack_rows(kM, kK, a.from(0, 0), a_packed);
      Result c(kM, kN, false, 0);
      multiply_packed({kM, kN, kK, a_packed, b_packed, kK, unneeded, first}, {.c = c.data(), .c_stride = kN});
      for (std::int64_t i = 0; i < kM; ++i) {
        const std::int64_t needed = unneeded == Unneeded::kLateColumns ? std::min(kN, first + i + 1) : kN;
        for (std::int64_t j = 0; j < needed; ++j) ASSERT_NEAR(c.at(i, j), Exact(a, b, i, j, kK).sum, 1e-4);
      }
    }
  }
}

}  // namespace
}  // namespace ballast
