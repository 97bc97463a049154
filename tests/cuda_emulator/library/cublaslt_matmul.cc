// cuBLASLt: the product, by plain loops that add up in one order, so that its bits depend on shapes alone.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "cublaslt.h"
#include "cuda_emulator/execution.h"
#include "elements.h"
#include "memory.h"
#include "streams.h"

namespace cuda_emulator {
namespace {

constexpr std::uint64_t kWorkspace = 4096;  // what the one algorithm asks for, if it may

float to_tf32(float value) {  // ten bits of mantissa, to nearest
  if (!std::isfinite(value)) return value;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu);
}

float gelu(float x) { return 0.5f * x * (1.0f + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x))); }

struct Operand {
  const std::byte* data;
  MatrixLayout layout;
};

/// Everything a product needs, copied when it is queued.
struct Product {
  MatmulDescription matmul;
  float alpha, beta;
  Operand a, b, c;
  std::byte* d;
  MatrixLayout d_layout;
  std::byte* workspace;
  std::uint64_t workspace_bytes;
};

std::uint64_t rows_of(const MatrixLayout& x, cublasOperation_t operation) {
  return operation == CUBLAS_OP_N ? x.rows : x.columns;
}
std::uint64_t columns_of(const MatrixLayout& x, cublasOperation_t operation) {
  return operation == CUBLAS_OP_N ? x.columns : x.rows;
}

/// The largest power of two that divides an address, up to the 256 of device memory; null is divided by all.
std::uint64_t alignment_of(const void* address) {
  const std::uintptr_t bits = reinterpret_cast<std::uintptr_t>(address) | 256U;
  return bits & (~bits + 1);
}

bool has_bias(const MatmulDescription& matmul) { return (matmul.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0; }
bool keeps_argument(const MatmulDescription& matmul) {
  return (matmul.epilogue & CUBLASLT_EPILOGUE_GELU_AUX) == CUBLASLT_EPILOGUE_GELU_AUX;
}

/// Where gelu's argument goes: the header asks for a leading dimension divisible by 8.
MatrixLayout auxiliary_layout(const MatmulDescription& matmul, MatrixLayout d) {
  d.leading = matmul.auxiliary_leading;
  return d;
}

cublasStatus_t check(const MatmulDescription& matmul, const MatrixLayout& a, const MatrixLayout& b,
                     const MatrixLayout& c, const MatrixLayout& d) {
  for (const MatrixLayout* layout : {&a, &b, &c, &d}) {
    if (layout->leading < static_cast<std::int64_t>(layout->rows) || layout->batches != d.batches) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  }
  const bool fits = rows_of(a, matmul.transpose_a) == d.rows && columns_of(b, matmul.transpose_b) == d.columns &&
                    columns_of(a, matmul.transpose_a) == rows_of(b, matmul.transpose_b) && c.rows == d.rows &&
                    c.columns == d.columns;
  if (!fits) return CUBLAS_STATUS_INVALID_VALUE;
  const std::int64_t leading = matmul.auxiliary_leading;
  const bool argument_fits =
      matmul.auxiliary != nullptr && leading >= static_cast<std::int64_t>(d.rows) && leading % 8 == 0 && d.batches == 1;
  if (keeps_argument(matmul) && !argument_fits) return CUBLAS_STATUS_INVALID_VALUE;
  const bool f32 = a.type == CUDA_R_32F && b.type == CUDA_R_32F && d.type == CUDA_R_32F &&
                   (matmul.compute == CUBLAS_COMPUTE_32F || matmul.compute == CUBLAS_COMPUTE_32F_FAST_TF32);
  const bool bf16 = a.type == CUDA_R_16BF && b.type == CUDA_R_16BF && (d.type == CUDA_R_16BF || d.type == CUDA_R_32F) &&
                    matmul.compute == CUBLAS_COMPUTE_32F;
  const bool epilogue = matmul.epilogue == CUBLASLT_EPILOGUE_DEFAULT || matmul.epilogue == CUBLASLT_EPILOGUE_BIAS ||
                        matmul.epilogue == CUBLASLT_EPILOGUE_GELU || matmul.epilogue == CUBLASLT_EPILOGUE_GELU_BIAS ||
                        matmul.epilogue == CUBLASLT_EPILOGUE_GELU_AUX ||
                        matmul.epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
  const bool bias = !has_bias(matmul) || matmul.bias_type == -1 || matmul.bias_type == d.type;
  const bool supported = (f32 || bf16) && c.type == d.type && matmul.scale == CUDA_R_32F && epilogue && bias;
  return supported ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

void check_operand(const std::byte* data, const MatrixLayout& layout, const char* who, Access access) {
  if (layout.rows == 0 || layout.columns == 0) return;
  const std::size_t size = element_bytes(layout.type);
  const std::size_t span = ((layout.columns - 1) * layout.leading + layout.rows) * size;
  for (std::int64_t batch = 0; batch < layout.batches; ++batch) {
    check_range(data + batch * layout.batch_stride * static_cast<std::int64_t>(size), span, who, access);
  }
}

/// One matrix of the batch as f32, in the order of columns of op(x).
std::vector<float> pack(const Operand& x, std::int64_t batch, cublasOperation_t operation, bool tf32) {
  const std::uint64_t rows = rows_of(x.layout, operation), columns = columns_of(x.layout, operation);
  const std::byte* data =
      x.data + batch * x.layout.batch_stride * static_cast<std::int64_t>(element_bytes(x.layout.type));
  std::vector<float> packed(rows * columns);
  for (std::uint64_t j = 0; j < columns; ++j) {
    for (std::uint64_t i = 0; i < rows; ++i) {
      const std::uint64_t index = operation == CUBLAS_OP_N ? j * x.layout.leading + i : i * x.layout.leading + j;
      const float value = load(data, x.layout.type, index);
      packed[j * rows + i] = tf32 ? to_tf32(value) : value;
    }
  }
  return packed;
}

void finish_column(const Product& p, std::int64_t batch, std::uint64_t column, const std::vector<float>& sums) {
  const auto size = static_cast<std::int64_t>(element_bytes(p.d_layout.type));
  const std::byte* c = p.c.data + batch * p.c.layout.batch_stride * size;
  std::byte* d = p.d + batch * p.d_layout.batch_stride * size;
  for (std::uint64_t i = 0; i < p.d_layout.rows; ++i) {
    float value = p.alpha * sums[i];
    if (p.beta != 0) value += p.beta * load(c, p.c.layout.type, column * p.c.layout.leading + i);
    if (has_bias(p.matmul)) value += load(static_cast<const std::byte*>(p.matmul.bias), p.d_layout.type, i);
    if (keeps_argument(p.matmul)) {
      const std::uint64_t index = column * p.matmul.auxiliary_leading + i;
      store(static_cast<std::byte*>(p.matmul.auxiliary), p.d_layout.type, index, value);
    }
    if ((p.matmul.epilogue & CUBLASLT_EPILOGUE_GELU) != 0) value = gelu(value);
    store(d, p.d_layout.type, column * p.d_layout.leading + i, value);
  }
}

void multiply(const Product& p) {
  check_operand(p.a.data, p.a.layout, "matmul A", Access::kRead);
  check_operand(p.b.data, p.b.layout, "matmul B", Access::kRead);
  if (p.beta != 0) check_operand(p.c.data, p.c.layout, "matmul C", Access::kRead);
  check_operand(p.d, p.d_layout, "matmul D", Access::kWrite);
  if (keeps_argument(p.matmul)) {
    check_operand(static_cast<const std::byte*>(p.matmul.auxiliary), auxiliary_layout(p.matmul, p.d_layout),
                  "matmul auxiliary output", Access::kWrite);
  }
  const std::uint64_t m = p.d_layout.rows;
  if (has_bias(p.matmul)) {
    check_range(p.matmul.bias, m * element_bytes(p.d_layout.type), "matmul bias", Access::kRead);
  }
  if (p.workspace_bytes > 0) {  // a real algorithm leaves something there
    check_range(p.workspace, p.workspace_bytes, "matmul workspace", Access::kWrite);
    std::memset(p.workspace, 0xff, p.workspace_bytes);
  }
  const bool tf32 = p.matmul.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  const std::uint64_t inner = columns_of(p.a.layout, p.matmul.transpose_a);
  std::vector<float> sums(m);
  for (std::int64_t batch = 0; batch < p.d_layout.batches; ++batch) {
    const std::vector<float> a = pack(p.a, batch, p.matmul.transpose_a, tf32);
    const std::vector<float> b = pack(p.b, batch, p.matmul.transpose_b, tf32);
    for (std::uint64_t j = 0; j < p.d_layout.columns; ++j) {
      std::fill(sums.begin(), sums.end(), 0.0f);
      for (std::uint64_t k = 0; k < inner; ++k) {
        for (std::uint64_t i = 0; i < m; ++i) sums[i] += a[k * m + i] * b[j * inner + k];
      }
      finish_column(p, batch, j, sums);
    }
  }
}

}  // namespace
}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t matmul, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int requested, cublasLtMatmulHeuristicResult_t results[], int* returned) {
  *returned = 0;
  const cublasStatus_t status =
      check(read_descriptor<MatmulDescription>(matmul), read_descriptor<MatrixLayout>(a),
            read_descriptor<MatrixLayout>(b), read_descriptor<MatrixLayout>(c), read_descriptor<MatrixLayout>(d));
  if (status != CUBLAS_STATUS_SUCCESS || requested < 1) return status;
  const std::uint64_t most = preference == nullptr ? 0 : read_descriptor<MatmulPreference>(preference).workspace;
  results[0] = {};
  results[0].workspaceSize = results[0].algo.data[0] = std::min(most, kWorkspace);
  // An algorithm may need all the alignment that the bias and the auxiliary output had when it was chosen.
  results[0].algo.data[1] = alignment_of(read_descriptor<MatmulDescription>(matmul).bias);
  results[0].algo.data[2] = alignment_of(read_descriptor<MatmulDescription>(matmul).auxiliary);
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *returned = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t matmul, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
  const auto operand = [](const void* data, cublasLtMatrixLayout_t layout) {
    return Operand{static_cast<const std::byte*>(data), read_descriptor<MatrixLayout>(layout)};
  };
  const Product product{read_descriptor<MatmulDescription>(matmul),
                        *static_cast<const float*>(alpha),
                        *static_cast<const float*>(beta),
                        operand(a, a_layout),
                        operand(b, b_layout),
                        operand(c, c_layout),
                        static_cast<std::byte*>(d),
                        read_descriptor<MatrixLayout>(d_layout),
                        static_cast<std::byte*>(workspace),
                        algorithm == nullptr ? 0 : algorithm->data[0]};
  const cublasStatus_t status =
      check(product.matmul, product.a.layout, product.b.layout, product.c.layout, product.d_layout);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (product.workspace_bytes > workspace_bytes) return CUBLAS_STATUS_INVALID_VALUE;
  const auto misaligned = [&](const void* address, int chosen_for) {
    return algorithm != nullptr && alignment_of(address) < algorithm->data[chosen_for];
  };
  if (has_bias(product.matmul) && misaligned(product.matmul.bias, 1)) return CUBLAS_STATUS_INVALID_VALUE;
  if (keeps_argument(product.matmul) && misaligned(product.matmul.auxiliary, 2)) return CUBLAS_STATUS_INVALID_VALUE;
  const Lock lock;
  push(stream_of(stream), {.what = "cublasLtMatmul", .run = [product](CUstream_st&) { multiply(product); }});
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
