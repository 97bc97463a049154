// Defines: Matmul: matrix products through cuBLASLt.
#pragma once

#include <cublasLt.h>

#include <compare>
#include <map>

#include "compute/backend.h"
#include "compute/cuda/handles.h"
#include "compute/cuda/queue.h"

namespace ballast::cuda {

/// cuBLASLt thinks in columns: a row-major c_MN = a b is the column-major c'_NM = b' a' on the same memory, so a and b
/// change places.
///
/// The algorithm is what cuBLASLt proposes first for a shape, types and alignment, the same on every device of one
/// kind, with sums split over k added in a fixed order only. So the bits are the same on every worker and in every run.
class Matmul {
 public:
  Matmul(int device, bool tf32);

  void run(Queue& queue, const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
           DeviceSpan c);

  /// Backend::matmul_gelu in one pass over memory. Returns false, and does nothing, where cuBLASLt cannot or should
  /// not: before Hopper its fused kernels for bf16 were slower than the two (github.com/karpathy/llm.c/pull/338).
  [[nodiscard]] bool run_gelu(Queue& queue, const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b,
                              ConstDeviceSpan bias, DeviceSpan x, DeviceSpan y);

 private:
  /// What an algorithm is chosen for.
  struct Key {
    std::int64_t m = 0, n = 0, k = 0;
    bool transpose_a = false, transpose_b = false, accumulate = false, bias = false;
    bool gelu = false, keep = false;  ///< keep: gelu's argument is written, too
    DType factors = DType::kF32, sum = DType::kF32;
    std::uint32_t alignment_a = 0, alignment_b = 0, alignment_c = 0;
    auto operator<=>(const Key&) const = default;
  };

  using Handle = Owned<cublasLtHandle_t, cublasLtDestroy>;
  using Description = Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
  using Layout = Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;

  struct Plan {
    Description description;
    Layout a, b, c;
    cublasLtMatmulAlgo_t algorithm{};
    std::size_t workspace = 0;  ///< bytes that the algorithm needs
    bool exists = false;        ///< whether cuBLASLt has an algorithm
  };

  [[nodiscard]] static Key key_of(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias,
                                  DeviceSpan c);
  [[nodiscard]] Plan make_plan(const Key& key) const;
  [[nodiscard]] Description describe(const Key& key) const;
  void choose_algorithm(const Key& key, Plan& plan) const;
  const Plan& plan_of(Queue& queue, const Key& key);

  void multiply(Queue& queue, const Key& key, const Plan& plan, ConstDeviceSpan a, ConstDeviceSpan b,
                ConstDeviceSpan bias, DeviceSpan c);

  bool tf32_;
  bool fuses_gelu_;
  Handle handle_;
  DeviceMemory workspace_;  ///< for the plan that needs most
  std::size_t workspace_bytes_ = 0;
  std::map<Key, Plan> plans_;
};

}  // namespace ballast::cuda
