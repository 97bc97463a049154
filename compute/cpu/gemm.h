// Defines: gemm_f32: one small matrix product on the calling thread.
#pragma once

#include <cstdint>

#include "compute/backend.h"

namespace ballast {

/// c_MN = alpha * a b (+ c when `shape.accumulate`), row-major f32; `lda`, `ldb`, `ldc` are elements between rows as
/// stored. Runs on the calling thread alone, may be called from many threads at once, and c may not overlap a or b. For
/// use inside a task of a ThreadPool: the bits depend on the arguments and the processor only.
void gemm_f32(const MatmulShape& shape, const float* a, std::int64_t lda, const float* b, std::int64_t ldb, float* c,
              std::int64_t ldc, float alpha);

}  // namespace ballast
