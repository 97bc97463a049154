// For architectures without a kernel of our own: the library multiplies.
#include "compute/cpu/bf16_gemm.h"
#include "compute/error.h"

namespace ballast {

namespace {

[[noreturn]] void refuse() { throw Error("there is no bf16 matrix product of our own for this processor"); }

}  // namespace

bool has_bf16_gemm() { return false; }
std::int64_t bf16_gemm_scratch(std::int64_t, std::int64_t, std::int64_t) { refuse(); }
void bf16_gemm(const Bf16Gemm&, std::byte*) { refuse(); }
std::int64_t packed_rows_size(std::int64_t, std::int64_t) { refuse(); }
std::int64_t packed_columns_size(std::int64_t, std::int64_t) { refuse(); }
void pack_rows(std::int64_t, std::int64_t, const Bf16Operand&, Bf16*) { refuse(); }
void pack_columns(std::int64_t, std::int64_t, const Bf16Operand&, Bf16*) { refuse(); }
void multiply_packed(const PackedGemm&, const GemmOutput&) { refuse(); }

}  // namespace ballast
