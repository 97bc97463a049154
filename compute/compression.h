// Defines: Coding, CodedBlock, code_words, check_coded_blocks: floats in fewer bits, block by block.
//
// A block is coded by itself, so its code depends on its floats alone: not on the span that it lies in, nor on what
// else is coded with it. What a code stands for is D(code). NaN and infinity are never coded away: D has a NaN where a
// run or block that shares one scale holds one.
#pragma once

#include <cstdint>
#include <span>

#include "compute/element_range.h"

namespace ballast {

/// How the floats x of a block are written, in words of 32 bits, lower bits first. All arithmetic is in f32, rounded to
/// nearest even, so every backend writes the same words; but kSign's mean is added up in f64, in any one order.
enum class Coding : std::uint8_t {
  kF32,   ///< as they are
  kBF16,  ///< rounded to bf16, two in a word
  kInt8,  ///< q s with s = max|x| / 127 and q = round(x / s), for each run of 256: the scales s, then q, four in a word
  kInt4,  ///< the same with s = max|x| / 7 for each run of 64, and q + 8 in four bits
  kTopK,  ///< the `kept` largest by size (the first among equals) in rising order, each as index + 2^16 bf16(x); else 0
  kSign,  ///< the mean of |x|, then a bit for each: 1 for what has the sign of minus (Seide et al. 2014, Bernstein et
          ///< al. 2018)
};

constexpr std::int64_t kMaxCodedElements = 8192;
constexpr std::int64_t kInt8Run = 256, kInt4Run = 64;  ///< floats of one scale

struct CodedBlock {
  ElementRange elements;  ///< of the floats; at most kMaxCodedElements
  std::int64_t code = 0;  ///< the first of its words
  Coding coding = Coding::kF32;
  std::int32_t kept = 0;  ///< kTopK: at least 1 and at most all
};

/// Words of the code of `elements` floats.
[[nodiscard]] std::int64_t code_words(Coding coding, std::int64_t elements, std::int64_t kept);

/// Throws Error unless the blocks lie in rising order, apart, inside `floats` floats and `words` words.
void check_coded_blocks(std::span<const CodedBlock> blocks, std::int64_t floats, std::int64_t words);

}  // namespace ballast
