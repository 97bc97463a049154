#include "compute/cpu/gemm.h"

#include <cblas.h>

#include <oneapi/dnnl/dnnl.hpp>

#include "compute/cpu/library_threads.h"

namespace ballast {

namespace {

// oneDNN's sgemm is written for AVX2 and AVX-512 and falls back to plain loops elsewhere (Arm, old x86); OpenBLAS has
// kernels for those. The instruction sets of x86 are bit sets, and 0 elsewhere.
bool onednn_has_kernels() {
  constexpr auto kAvx2 = static_cast<unsigned>(dnnl::cpu_isa::avx2);
  static const bool has_avx2 = (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kAvx2) == kAvx2;
  return has_avx2;
}

}  // namespace

void gemm_f32(const MatmulShape& shape, const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float* c,
              std::int64_t ldc, float alpha) {
  const float beta = shape.accumulate ? 1.0F : 0.0F;
  if (onednn_has_kernels()) {
    const auto status = dnnl_sgemm(shape.transpose_a ? 'T' : 'N', shape.transpose_b ? 'T' : 'N', shape.m, shape.n,
                                   shape.k, alpha, a, lda, b, ldb, beta, c, ldc);
    require(status == dnnl_success, "oneDNN refused an f32 matrix product: a dimension or a row stride is wrong");
    return;
  }
  const auto order = [](bool transposed) { return transposed ? CblasTrans : CblasNoTrans; };
  const auto blas = [](std::int64_t size) { return static_cast<blasint>(size); };
  cblas_sgemm(CblasRowMajor, order(shape.transpose_a), order(shape.transpose_b), blas(shape.m), blas(shape.n),
              blas(shape.k), alpha, a, blas(lda), b, blas(ldb), beta, c, blas(ldc));
}

}  // namespace ballast
