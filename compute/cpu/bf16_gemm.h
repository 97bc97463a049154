// Defines: Bf16Operand, Bf16Gemm, has_bf16_kernels, bf16_gemm, and its pieces: pack_rows, pack_columns,
// multiply_packed.
//
// Matrix products in bf16 with sums in f32 for processors whose vector units multiply pairs of bf16 numbers
// (AVX512-BF16). The structure is that of Goto and van de Geijn 2008 (Anatomy of high-performance matrix
// multiplication): panels of a and b are copied into the order in which the innermost loop reads them. CMake picks
// bf16_gemm_avx512.cc, or bf16_absent.cc on other architectures, where only has_bf16_kernels may be called.
//
// Everything here runs on the calling thread, may be called from many threads at once, and gives bits that depend on
// the arguments only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "compute/cpu/bf16.h"

namespace ballast {

/// Whether this processor has the instructions, and oneDNN nothing better (AMX) for matrix products.
[[nodiscard]] bool has_bf16_kernels();

/// A matrix stored row by row, or column by column when `transposed`; `stride` elements lie between what is stored.
struct Bf16Operand {
  const Bf16* data;
  std::int64_t stride;
  bool transposed;
};

/// What becomes of a sum: c = sum (+ bias_N) (+ addend), in f32 or rounded to bf16.
struct GemmOutput {
  const float* bias = nullptr;
  const float* addend = nullptr;  ///< may be c itself
  std::int64_t addend_stride = 0;
  void* c = nullptr;
  std::int64_t c_stride = 0;
  bool is_bf16 = false;
};

/// c_MN = a_MK b_KN (+ bias_N) (+ c, which is f32, when `accumulate`).
struct Bf16Gemm {
  std::int64_t m, n, k;
  Bf16Operand a, b;
  const float* bias;
  void* c;
  std::int64_t c_stride;
  bool c_is_bf16;
  bool accumulate;
};

/// Bytes of scratch memory that bf16_gemm wants, aligned to 64.
[[nodiscard]] std::int64_t bf16_gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k);
/// Best with m of 100 to 512. An element of c has the same bits in whatever tile of a larger c it is computed.
void bf16_gemm(const Bf16Gemm& gemm, std::byte* scratch);

/// Elements of a_MK or b_KN once packed. A row panel has at most 14 rows, a column panel 32 columns.
[[nodiscard]] std::int64_t packed_rows_size(std::int64_t m, std::int64_t k);
[[nodiscard]] std::int64_t packed_columns_size(std::int64_t n, std::int64_t k);
/// `to` is aligned to 64.
void pack_rows(std::int64_t m, std::int64_t k, const Bf16Operand& a, Bf16* to);
void pack_columns(std::int64_t n, std::int64_t k, const Bf16Operand& b, Bf16* to);

/// What of a product a mask lets be left out, tile by tile: nothing; c_ij where j > first + i, which stays as it was;
/// the addends where a_ik is known to be 0, for k > first + i; those for i > first + k.
enum class Unneeded : std::uint8_t { kNothing, kLateColumns, kLateK, kEarlyK };

/// The product of a packed a_MK and the first `k` rows of a b_(K')N packed with K' = `packed_k` >= k, k even or K'.
struct PackedGemm {
  std::int64_t m, n, k;
  const Bf16* a;
  const Bf16* b;
  std::int64_t packed_k;
  Unneeded unneeded = Unneeded::kNothing;
  std::int64_t first = 0;
};
void multiply_packed(const PackedGemm& gemm, const GemmOutput& out);

}  // namespace ballast
