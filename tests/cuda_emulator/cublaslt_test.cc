// The product of cuBLASLt against plain loops, in every orientation and type that is emulated.
#include <cublasLt.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "tests/cuda_emulator/scenarios/scenario.h"

namespace cuda_emulator {
namespace {

using namespace scenarios;

constexpr int kRows = 5, kColumns = 7, kInner = 9;

struct Case {
  bool transpose_a, transpose_b, bf16, bias;
};

std::uint16_t to_bf16(float value) {  // the values here are exact
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

// Small multiples of 1/8: sums are exact in f32, whatever their order.
std::vector<float> values(int count, int step) {
  std::vector<float> result(count);
  for (int i = 0; i < count; ++i) result[i] = static_cast<float>(i * step % 23 - 11) / 8;
  return result;
}

/// A column-major matrix on the device, as f32 or bf16.
class Matrix {
 public:
  Matrix(const std::vector<float>& content, bool bf16) : f32_(content), bf16_(halves(content)), is_bf16_(bf16) {}
  [[nodiscard]] void* data() const { return is_bf16_ ? static_cast<void*>(bf16_.data()) : f32_.data(); }

 private:
  static std::vector<std::uint16_t> halves(const std::vector<float>& content) {
    std::vector<std::uint16_t> result;
    for (const float value : content) result.push_back(to_bf16(value));
    return result;
  }
  DeviceArray<float> f32_;
  DeviceArray<std::uint16_t> bf16_;
  bool is_bf16_;
};

class Layout {
 public:
  Layout(cudaDataType type, int rows, int columns) {
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&handle_, type, rows, columns, rows), CUBLAS_STATUS_SUCCESS);
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(handle_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  [[nodiscard]] cublasLtMatrixLayout_t get() const { return handle_; }

 private:
  cublasLtMatrixLayout_t handle_ = nullptr;
};

class Matmul {
 public:
  Matmul() { EXPECT_EQ(cublasLtMatmulDescCreate(&handle_, CUBLAS_COMPUTE_32F, CUDA_R_32F), CUBLAS_STATUS_SUCCESS); }
  ~Matmul() { cublasLtMatmulDescDestroy(handle_); }
  Matmul(const Matmul&) = delete;
  Matmul& operator=(const Matmul&) = delete;
  [[nodiscard]] cublasLtMatmulDesc_t get() const { return handle_; }

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(handle_, attribute, &value, sizeof value), CUBLAS_STATUS_SUCCESS);
  }

 private:
  cublasLtMatmulDesc_t handle_ = nullptr;
};

class CublasLt : public testing::TestWithParam<Case> {};

TEST_P(CublasLt, MultipliesAsPlainLoopsDo) {
  const auto [transpose_a, transpose_b, bf16, bias] = GetParam();
  const auto a = values(kRows * kInner, 5), b = values(kInner * kColumns, 7), c = values(kRows * kColumns, 3),
             bias_values = values(kRows, 11);
  const Matrix device_a(a, bf16), device_b(b, bf16);
  const DeviceArray<float> d(c), device_bias(bias_values), workspace(1024);
  cublasLtHandle_t handle = nullptr;
  ASSERT_EQ(cublasLtCreate(&handle), CUBLAS_STATUS_SUCCESS);
  Matmul matmul;
  matmul.set(CUBLASLT_MATMUL_DESC_TRANSA, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  matmul.set(CUBLASLT_MATMUL_DESC_TRANSB, transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (bias) matmul.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  if (bias) matmul.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(device_bias.data()));
  const cudaDataType type = bf16 ? CUDA_R_16BF : CUDA_R_32F;
  const Layout a_layout(type, transpose_a ? kInner : kRows, transpose_a ? kRows : kInner);
  const Layout b_layout(type, transpose_b ? kColumns : kInner, transpose_b ? kInner : kColumns);
  const Layout d_layout(CUDA_R_32F, kRows, kColumns);
  const float alpha = 2, beta = 1;
  ASSERT_EQ(cublasLtMatmul(handle, matmul.get(), &alpha, device_a.data(), a_layout.get(), device_b.data(),
                           b_layout.get(), &beta, d.data(), d_layout.get(), d.data(), d_layout.get(), nullptr,
                           workspace.data(), 4096, nullptr),
            CUBLAS_STATUS_SUCCESS);
  cublasLtDestroy(handle);
  const std::vector<float> result = d.values();
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      float sum = 0;
      for (int k = 0; k < kInner; ++k) {
        sum += a[transpose_a ? row * kInner + k : k * kRows + row] *
               b[transpose_b ? k * kColumns + column : column * kInner + k];
      }
      const int index = column * kRows + row;
      EXPECT_EQ(result[index], alpha * sum + c[index] + (bias ? bias_values[row] : 0.0f)) << row << ", " << column;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Orientations, CublasLt,
                         testing::Values(Case{false, false, false, false}, Case{true, false, false, true},
                                         Case{false, true, true, false}, Case{true, true, true, true}));

TEST(CublasLt, GeluKeepsItsArgumentWhereTheLeadingDimensionIsAMultipleOfEight) {
  const DeviceArray<float> a(values(64, 5)), d(64), argument(64);
  const Layout layout(CUDA_R_32F, 8, 8);
  const auto multiply = [&](std::int64_t leading) {
    Matmul matmul;
    matmul.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_GELU_AUX);
    matmul.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<const void*>(argument.data()));
    matmul.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, leading);
    const float alpha = 1, beta = 0;
    return cublasLtMatmul(nullptr, matmul.get(), &alpha, a.data(), layout.get(), a.data(), layout.get(), &beta,
                          d.data(), layout.get(), d.data(), layout.get(), nullptr, nullptr, 0, nullptr);
  };
  EXPECT_EQ(multiply(12), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(8), CUBLAS_STATUS_SUCCESS);
  const std::vector<float> x = argument.values(), y = d.values();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double u = std::sqrt(2 / M_PI) * (x[i] + 0.044715 * std::pow(x[i], 3));
    EXPECT_NEAR(y[i], 0.5 * x[i] * (1 + std::tanh(u)), 1e-5) << x[i];
  }
  EXPECT_NE(x[0], 0.0F);
}

TEST(CublasLt, RefusesTypesThatDoNotGoTogether) {
  const Matmul matmul;
  const Layout f32(CUDA_R_32F, 4, 4), bf16(CUDA_R_16BF, 4, 4);
  const auto find = [&](const Layout& b, cublasLtMatmulHeuristicResult_t* result, int* found) {
    return cublasLtMatmulAlgoGetHeuristic(nullptr, matmul.get(), f32.get(), b.get(), f32.get(), f32.get(), nullptr, 1,
                                          result, found);
  };
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  EXPECT_EQ(find(bf16, &result, &found), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(found, 0);
  EXPECT_EQ(find(f32, &result, &found), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(found, 1);
}

TEST(CublasLt, RefusesABiasThatIsLessAlignedThanTheAlgorithmWasChosenFor) {
  const DeviceArray<float> matrices(48), bias(8), workspace(1024);
  const Layout layout(CUDA_R_32F, 4, 4);
  const auto multiply = [&](const float* chosen_for, const float* used) {
    Matmul matmul;
    matmul.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    matmul.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(chosen_for));
    cublasLtMatmulHeuristicResult_t result{};
    int found = 0;
    EXPECT_EQ(cublasLtMatmulAlgoGetHeuristic(nullptr, matmul.get(), layout.get(), layout.get(), layout.get(),
                                             layout.get(), nullptr, 1, &result, &found),
              CUBLAS_STATUS_SUCCESS);
    matmul.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(used));
    const float alpha = 1, beta = 0;
    float* const a = matrices.data();
    return cublasLtMatmul(nullptr, matmul.get(), &alpha, a, layout.get(), a + 16, layout.get(), &beta, a + 32,
                          layout.get(), a + 32, layout.get(), &result.algo, workspace.data(), 4096, nullptr);
  };
  EXPECT_EQ(multiply(bias.data() + 4, bias.data() + 4), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(bias.data() + 4, bias.data()), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(multiply(bias.data(), bias.data() + 4), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(multiply(nullptr, bias.data() + 4), CUBLAS_STATUS_INVALID_VALUE);
}

}  // namespace
}  // namespace cuda_emulator
