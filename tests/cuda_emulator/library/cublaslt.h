// What cuBLASLt's opaque descriptors hold here.
#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace cuda_emulator {

struct MatmulDescription {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType scale = CUDA_R_32F;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  std::int32_t bias_type = -1;  // -1: that of D
  void* auxiliary = nullptr;    // gelu's argument, in the type of D
  std::int64_t auxiliary_leading = 0;
};

struct MatrixLayout {  // column-major
  cudaDataType type = CUDA_R_32F;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t leading = 0;
  std::int32_t batches = 1;
  std::int64_t batch_stride = 0;
};

struct MatmulPreference {
  std::uint64_t workspace = 0;
};

/// The description inside an opaque descriptor.
template <class Description, class Opaque>
Description read_descriptor(const Opaque* opaque) {
  static_assert(sizeof(Description) <= sizeof(opaque->data) && std::is_trivially_copyable_v<Description>);
  Description description;
  std::memcpy(&description, opaque->data, sizeof(Description));
  return description;
}
template <class Description, class Opaque>
void write_descriptor(Opaque* opaque, const Description& description) {
  static_assert(sizeof(Description) <= sizeof(opaque->data));
  std::memcpy(opaque->data, &description, sizeof(Description));
}

}  // namespace cuda_emulator
