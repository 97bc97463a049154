// Compiled for AVX512-BF16, so nothing here may be shared with other sources: an inline function of a header could end
// up in the program in this file's version and crash an older processor. Hence no standard library, and everything but
// the interface in an unnamed namespace. bf16_isa.cc, compiled for any processor, says whether this may be called.
//
// Packed panels hold pairs: a pair is two numbers that stand next to each other along k, one 32-bit lane; vdpbf16ps
// multiplies sixteen pairs and adds both products of each to an f32 lane. A missing last number of an odd k is 0.
#include <immintrin.h>

#include "compute/cpu/bf16_gemm.h"

namespace ballast {

namespace {

// 14 x 32 sums fill 28 of the 32 vector registers; two hold the columns and one a pair of a.
constexpr std::int64_t kPanelRows = 14;
constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kPanelColumns = 2 * kLanes;
// The longest block of k: with the rows of one call, a few hundred, a block of a stays in the second cache (1 MiB)
// while one column panel after another passes by. Of k alone, for the order of additions must not depend on m and n.
constexpr std::int64_t kDepth = 768;

constexpr std::int64_t least(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

__mmask16 first_16(std::int64_t count) { return static_cast<__mmask16>(count >= 16 ? 0xFFFFU : (1U << count) - 1U); }
__mmask32 first_32(std::int64_t count) { return count >= 32 ? 0xFFFFFFFFU : (1U << count) - 1U; }

/// Row panels of nearly equal height: a panel of two rows would wait for its few sums.
struct RowPanels {
  std::int64_t rows, count;
  explicit RowPanels(std::int64_t m) : rows(m), count(ceil_div(m, kPanelRows)) {}
  [[nodiscard]] std::int64_t first(std::int64_t panel) const {
    return panel * (rows / count) + least(panel, rows % count);
  }
  [[nodiscard]] std::int64_t height(std::int64_t panel) const { return rows / count + (panel < rows % count ? 1 : 0); }
};

// --- packing
// ----------------------------------------------------------------------------------------------------------

/// Sixteen vectors of sixteen lanes, rows to columns.
__attribute__((always_inline)) inline void transpose(__m512i x[16]) {
  __m512i y[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
  // Now x[4 g + j] holds in its 128-bit part q the column 4 q + j of the rows 4 g ... 4 g + 3.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i low02 = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88);
    const __m512i low13 = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xDD);
    const __m512i high02 = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88);
    const __m512i high13 = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xDD);
    y[j] = _mm512_shuffle_i32x4(low02, high02, 0x88);
    y[8 + j] = _mm512_shuffle_i32x4(low02, high02, 0xDD);
    y[4 + j] = _mm512_shuffle_i32x4(low13, high13, 0x88);
    y[12 + j] = _mm512_shuffle_i32x4(low13, high13, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) x[i] = y[i];
}

/// `count` <= 16 lines of `k` numbers each, `stride` apart, to pairs of k: pair p of all lines at to + p * step lanes.
/// Writes sixteen lanes each time: where step < 16 the next pair overwrites what is too much.
void pack_lines(std::int64_t count, std::int64_t k, const Bf16* from, std::int64_t stride, std::uint32_t* to,
                std::int64_t step) {
  for (std::int64_t i = 0; i < k; i += 32) {
    const __mmask32 valid = first_32(k - i);
    __m512i x[16];
    if (count == 16 && k - i >= 32) {
#pragma GCC unroll 16
      for (int line = 0; line < 16; ++line) x[line] = _mm512_loadu_si512(from + line * stride + i);
    } else {
#pragma GCC unroll 16
      for (int line = 0; line < 16; ++line) {
        x[line] = line < count ? _mm512_maskz_loadu_epi16(valid, from + line * stride + i) : _mm512_setzero_si512();
      }
    }
    transpose(x);
    std::uint32_t* pair = to + i / 2 * step;
    const std::int64_t pairs = least(16, ceil_div(k - i, 2));
    if (pairs == 16) {
#pragma GCC unroll 16
      for (int p = 0; p < 16; ++p) _mm512_storeu_si512(pair + p * step, x[p]);
    } else {
      for (std::int64_t p = 0; p < pairs; ++p) _mm512_storeu_si512(pair + p * step, x[p]);
    }
  }
}

/// Two rows of k, `count` <= 32 numbers each, to `count` pairs: low half and high half.
struct Pairs {
  __m512i low, high;
};
Pairs interleave(__m512i even, __m512i odd) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                       5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  return {_mm512_permutex2var_epi16(even, low, odd), _mm512_permutex2var_epi16(even, high, odd)};
}

/// k rows of `count` <= 16 numbers, `stride` apart, as pack_lines.
void pack_across(std::int64_t count, std::int64_t k, const Bf16* from, std::int64_t stride, std::uint32_t* to,
                 std::int64_t step) {
  const auto valid = first_16(count);
  for (std::int64_t i = 0; i < k; i += 2, to += step, from += 2 * stride) {
    const __m512i even = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(valid, from));
    const __m512i odd =
        i + 1 < k ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(valid, from + stride)) : _mm512_setzero_si512();
    _mm512_mask_storeu_epi32(to, valid, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
  }
}

/// k rows of `count` <= 32 numbers: a whole column panel.
void pack_across_panel(std::int64_t count, std::int64_t k, const Bf16* from, std::int64_t stride, std::uint32_t* to) {
  const __mmask32 valid = first_32(count);
  for (std::int64_t i = 0; i < k; i += 2, to += kPanelColumns, from += 2 * stride) {
    const __m512i even = _mm512_maskz_loadu_epi16(valid, from);
    const __m512i odd = i + 1 < k ? _mm512_maskz_loadu_epi16(valid, from + stride) : _mm512_setzero_si512();
    const Pairs pairs = interleave(even, odd);
    _mm512_store_si512(to, pairs.low);
    _mm512_store_si512(to + kLanes, pairs.high);
  }
}

std::uint32_t* as_pairs(Bf16* x) { return reinterpret_cast<std::uint32_t*>(x); }
const std::uint32_t* as_pairs(const Bf16* x) { return reinterpret_cast<const std::uint32_t*>(x); }

void pack_column_panel(std::int64_t columns, std::int64_t k, const Bf16Operand& b, std::int64_t column,
                       std::uint32_t* to) {
  if (!b.transposed) return pack_across_panel(columns, k, b.data + column, b.stride, to);
  const Bf16* const from = b.data + column * b.stride;
  pack_lines(least(16, columns), k, from, b.stride, to, kPanelColumns);
  if (columns > 16) pack_lines(columns - 16, k, from + 16 * b.stride, b.stride, to + kLanes, kPanelColumns);
}

// --- multiplying
// ------------------------------------------------------------------------------------------------------

void store_part(__m512 sum, const GemmOutput& out, std::int64_t row, std::int64_t column, __mmask16 valid) {
  if (out.bias != nullptr) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(valid, out.bias + column));
  if (out.addend != nullptr) {
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(valid, out.addend + row * out.addend_stride + column));
  }
  const std::int64_t at = row * out.c_stride + column;
  if (out.is_bf16) {
    const auto rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(sum));
    _mm256_mask_storeu_epi16(static_cast<Bf16*>(out.c) + at, valid, rounded);
  } else {
    _mm512_mask_storeu_ps(static_cast<float*>(out.c) + at, valid, sum);
  }
}

/// The same for sixteen columns: a store under a mask is slow on some processors.
void store_all(__m512 sum, const GemmOutput& out, std::int64_t row, std::int64_t column) {
  if (out.bias != nullptr) sum = _mm512_add_ps(sum, _mm512_loadu_ps(out.bias + column));
  if (out.addend != nullptr) sum = _mm512_add_ps(sum, _mm512_loadu_ps(out.addend + row * out.addend_stride + column));
  const std::int64_t at = row * out.c_stride + column;
  if (out.is_bf16) {
    const auto rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(sum));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(static_cast<Bf16*>(out.c) + at), rounded);
  } else {
    _mm512_storeu_ps(static_cast<float*>(out.c) + at, sum);
  }
}

/// Asks for the cache lines of a tile of c while its sums are computed: c is larger than the caches. Inlined by force:
/// GCC 12 takes a function that only prefetches for one without effect, and drops the call.
template <int kRows>
__attribute__((always_inline)) inline void prefetch_c(const GemmOutput& out, std::int64_t row, std::int64_t column) {
  const std::int64_t size = out.is_bf16 ? 2 : 4;
  const char* c = static_cast<const char*>(out.c) + (row * out.c_stride + column) * size;
  const bool has_sums = out.addend != nullptr && out.addend != out.c;
  const float* addend = has_sums ? out.addend + row * out.addend_stride + column : nullptr;
#pragma GCC unroll 1
  for (int r = 0; r < kRows; ++r, c += out.c_stride * size) {
    _mm_prefetch(c, _MM_HINT_T0);
    _mm_prefetch(c + kLanes * size, _MM_HINT_T0);
    if (!has_sums) continue;
    _mm_prefetch(addend + r * out.addend_stride, _MM_HINT_T0);
    _mm_prefetch(addend + r * out.addend_stride + kLanes, _MM_HINT_T0);
  }
}

/// One tile of c at (row, column), `columns` wide: a panel of kRows rows times a panel of 16 kVectors columns.
template <int kRows, int kVectors>
void multiply_tile(std::int64_t pairs, const std::uint32_t* a, const std::uint32_t* b, const GemmOutput& out,
                   std::int64_t row, std::int64_t column, std::int64_t columns) {
  prefetch_c<kRows>(out, row, column);
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 14
  for (auto& of_row : sums) {
#pragma GCC unroll 2
    for (auto& sum : of_row) sum = _mm512_setzero_ps();
  }
  for (std::int64_t p = 0; p < pairs; ++p, a += kRows, b += kPanelColumns) {
    __m512i of_b[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) of_b[v] = _mm512_load_si512(b + v * kLanes);
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
      const __m512i of_a = _mm512_set1_epi32(static_cast<int>(a[r]));
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] =
            _mm512_dpbf16_ps(sums[r][v], reinterpret_cast<__m512bh>(of_a), reinterpret_cast<__m512bh>(of_b[v]));
      }
    }
  }
  const bool is_whole = columns >= kVectors * kLanes;
#pragma GCC unroll 14
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      if (is_whole) {
        store_all(sums[r][v], out, row + r, column + v * kLanes);
      } else {
        store_part(sums[r][v], out, row + r, column + v * kLanes, first_16(columns - v * kLanes));
      }
    }
  }
}

using Tile = void (*)(std::int64_t, const std::uint32_t*, const std::uint32_t*, const GemmOutput&, std::int64_t,
                      std::int64_t, std::int64_t);

#define BALLAST_TILES(rows) \
  { multiply_tile<rows, 1>, multiply_tile<rows, 2> }
constexpr Tile kTiles[kPanelRows][2] = {BALLAST_TILES(1),  BALLAST_TILES(2),  BALLAST_TILES(3),  BALLAST_TILES(4),
                                        BALLAST_TILES(5),  BALLAST_TILES(6),  BALLAST_TILES(7),  BALLAST_TILES(8),
                                        BALLAST_TILES(9),  BALLAST_TILES(10), BALLAST_TILES(11), BALLAST_TILES(12),
                                        BALLAST_TILES(13), BALLAST_TILES(14)};
#undef BALLAST_TILES

/// What is to be packed next, `rows` pieces of `lines` cache lines: asked for a little at a time while there is
/// arithmetic to do, since its pieces lie too far apart for the processor to foresee them.
struct Ahead {
  const Bf16* from = nullptr;
  std::int64_t stride = 0, rows = 0, lines = 0;

  __attribute__((always_inline)) void prefetch(std::int64_t share, std::int64_t shares) const {
    for (std::int64_t row = rows * share / shares; row < rows * (share + 1) / shares; ++row) {
      const Bf16* line = from + row * stride;
      for (std::int64_t i = 0; i < lines; ++i, line += 32) _mm_prefetch(line, _MM_HINT_T1);
    }
  }
};

/// All row panels times one column panel.
void multiply_panel(std::int64_t m, std::int64_t pairs, const std::uint32_t* a, const std::uint32_t* b,
                    const GemmOutput& out, std::int64_t column, std::int64_t columns, const Ahead& ahead) {
  const RowPanels panels(m);
  for (std::int64_t panel = 0; panel < panels.count; ++panel) {
    const std::int64_t row = panels.first(panel);
    ahead.prefetch(panel, panels.count);
    kTiles[panels.height(panel) - 1][columns > kLanes ? 1 : 0](pairs, a + row * pairs, b, out, row, column, columns);
  }
}

}  // namespace

std::int64_t packed_rows_size(std::int64_t m, std::int64_t k) { return 2 * (m * ceil_div(k, 2) + kLanes); }

std::int64_t packed_columns_size(std::int64_t n, std::int64_t k) {
  return 2 * round_up(n, kPanelColumns) * ceil_div(k, 2);
}

void pack_rows(std::int64_t m, std::int64_t k, const Bf16Operand& a, Bf16* to) {
  // Of a transposed a a few rows at a time for all panels: panels share cache lines.
  const std::int64_t step = a.transposed ? 32 : k;
  const RowPanels panels(m);
  for (std::int64_t i = 0; i < k; i += step) {
    const std::int64_t depth = least(step, k - i);
    for (std::int64_t panel = 0; panel < panels.count; ++panel) {
      const std::int64_t row = panels.first(panel);
      const std::int64_t height = panels.height(panel);
      std::uint32_t* const packed = as_pairs(to) + row * ceil_div(k, 2);
      if (a.transposed) {
        pack_across(height, depth, a.data + i * a.stride + row, a.stride, packed + i / 2 * height, height);
      } else {
        pack_lines(height, k, a.data + row * a.stride, a.stride, packed, height);
      }
    }
  }
}

void pack_columns(std::int64_t n, std::int64_t k, const Bf16Operand& b, Bf16* to) {
  for (std::int64_t column = 0; column < n; column += kPanelColumns) {
    pack_column_panel(least(kPanelColumns, n - column), k, b, column, as_pairs(to) + column * ceil_div(k, 2));
  }
}

void multiply_packed(const PackedGemm& gemm, const GemmOutput& out) {
  const std::int64_t pairs = ceil_div(gemm.k, 2);
  const RowPanels panels(gemm.m);
  for (std::int64_t column = 0; column < gemm.n; column += kPanelColumns) {
    const std::uint32_t* const b = as_pairs(gemm.b) + column * ceil_div(gemm.packed_k, 2);
    const std::int64_t columns = least(kPanelColumns, gemm.n - column);
    for (std::int64_t panel = 0; panel < panels.count; ++panel) {
      const std::int64_t row = panels.first(panel);
      const std::int64_t height = panels.height(panel);
      std::int64_t begin = 0;
      std::int64_t end = pairs;
      if (gemm.unneeded == Unneeded::kLateColumns && column >= gemm.first + row + height) continue;
      if (gemm.unneeded == Unneeded::kLateK) end = least(pairs, ceil_div(gemm.first + row + height, 2));
      if (gemm.unneeded == Unneeded::kEarlyK && row > gemm.first) begin = least(pairs, (row - gemm.first) / 2);
      kTiles[height - 1][columns > kLanes ? 1 : 0](end - begin, as_pairs(gemm.a) + row * pairs + begin * height,
                                                   b + begin * kPanelColumns, out, row, column, columns);
    }
  }
}

namespace {

/// k in equal blocks, each a multiple of 32 but the last.
std::int64_t block_depth(std::int64_t k) { return round_up(ceil_div(k, ceil_div(k, kDepth)), 32); }

std::int64_t sums_bytes(std::int64_t m, std::int64_t n, std::int64_t k) {
  return k > block_depth(k) ? 4 * m * round_up(n, kPanelColumns) : 0;
}

Bf16Operand from_k(Bf16Operand x, std::int64_t k, bool k_is_contiguous) {
  x.data += k_is_contiguous ? k : k * x.stride;
  return x;
}

/// The column panel that begins at `column`.
Ahead after(const Bf16Operand& b, std::int64_t column, std::int64_t n, std::int64_t k) {
  const std::int64_t columns = least(kPanelColumns, n - column);
  if (columns <= 0) return {};
  if (!b.transposed) return {b.data + column, b.stride, k, 1};
  return {b.data + column * b.stride, b.stride, columns, ceil_div(k, 32)};
}

}  // namespace

std::int64_t bf16_gemm_scratch(std::int64_t m, std::int64_t n, std::int64_t k) {
  const std::int64_t depth = block_depth(k);
  return round_up(2 * packed_rows_size(m, depth), 64) + 2 * packed_columns_size(kPanelColumns, depth) +
         sums_bytes(m, n, k);
}

void bf16_gemm(const Bf16Gemm& gemm, std::byte* scratch) {
  const std::int64_t depth = block_depth(gemm.k);
  auto* const b_panel = reinterpret_cast<Bf16*>(scratch);
  Bf16* const a_panels = b_panel + packed_columns_size(kPanelColumns, depth);
  // Sums of the blocks so far, where c cannot hold them.
  auto* const sums = reinterpret_cast<float*>(a_panels + round_up(packed_rows_size(gemm.m, depth), 32));
  const std::int64_t sums_stride = round_up(gemm.n, kPanelColumns);
  for (std::int64_t first_k = 0; first_k < gemm.k; first_k += depth) {
    const std::int64_t k = least(depth, gemm.k - first_k);
    const bool is_last = first_k + k == gemm.k;
    GemmOutput out{
        .bias = is_last ? gemm.bias : nullptr, .c = gemm.c, .c_stride = gemm.c_stride, .is_bf16 = gemm.c_is_bf16};
    if (gemm.c_is_bf16) {
      if (first_k > 0) out.addend = sums;
      out.addend_stride = sums_stride;
      if (!is_last) {
        out.c = sums;
        out.c_stride = sums_stride;
        out.is_bf16 = false;
      }
    } else if (gemm.accumulate || first_k > 0) {
      out.addend = static_cast<const float*>(gemm.c);
      out.addend_stride = gemm.c_stride;
    }
    pack_rows(gemm.m, k, from_k(gemm.a, first_k, !gemm.a.transposed), a_panels);
    const Bf16Operand b = from_k(gemm.b, first_k, gemm.b.transposed);
    for (std::int64_t column = 0; column < gemm.n; column += kPanelColumns) {
      const std::int64_t columns = least(kPanelColumns, gemm.n - column);
      pack_column_panel(columns, k, b, column, as_pairs(b_panel));
      multiply_panel(gemm.m, ceil_div(k, 2), as_pairs(a_panels), as_pairs(b_panel), out, column, columns,
                     after(b, column + columns, gemm.n, k));
    }
  }
}

}  // namespace ballast
