// For architectures without kernels of our own for bf16: the library multiplies, and the rest is widened to f32.
#include "compute/cpu/bf16_gemm.h"
#include "compute/cpu/bf16_rows.h"
#include "compute/error.h"

namespace ballast {

namespace {

[[noreturn]] void refuse() { throw Error("there are no bf16 kernels for this processor"); }

}  // namespace

bool has_bf16_kernels() { return false; }
std::int64_t bf16_gemm_scratch(std::int64_t, std::int64_t, std::int64_t) { refuse(); }
void bf16_gemm(const Bf16Gemm&, std::byte*) { refuse(); }
std::int64_t packed_rows_size(std::int64_t, std::int64_t) { refuse(); }
std::int64_t packed_columns_size(std::int64_t, std::int64_t) { refuse(); }
void pack_rows(std::int64_t, std::int64_t, const Bf16Operand&, Bf16*) { refuse(); }
void pack_columns(std::int64_t, std::int64_t, const Bf16Operand&, Bf16*) { refuse(); }
void multiply_packed(const PackedGemm&, const GemmOutput&) { refuse(); }
void gelu_bf16(std::int64_t, const Bf16*, Bf16*) { refuse(); }
void gelu_backward_bf16(std::int64_t, const Bf16*, const Bf16*, Bf16*) { refuse(); }
void softmax_rows_bf16(const SoftmaxRows&, const float*, Bf16*, float*, float*) { refuse(); }
void gradient_rows_bf16(const SoftmaxRows&, const float*, const float*, const float*, const float*, Bf16*, Bf16*) {
  refuse();
}
void dot_rows_bf16(std::int64_t, std::int64_t, const Bf16*, const Bf16*, std::int64_t, float*) { refuse(); }
void round_rows_bf16(std::int64_t, std::int64_t, const float*, const float*, float, Bf16*, std::int64_t) { refuse(); }

}  // namespace ballast
