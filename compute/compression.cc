#include "compute/compression.h"

#include "compute/error.h"

namespace ballast {
namespace {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::int64_t code_words(Coding coding, std::int64_t elements, std::int64_t kept) {
  switch (coding) {
    case Coding::kF32:
      return elements;
    case Coding::kBF16:
      return ceil_div(elements, 2);
    case Coding::kInt8:
      return ceil_div(elements, kInt8Run) + ceil_div(elements, 4);
    case Coding::kInt4:
      return ceil_div(elements, kInt4Run) + ceil_div(elements, 8);
    case Coding::kTopK:
      return kept;
    case Coding::kSign:
      return 1 + ceil_div(elements, 32);
  }
  throw Error("code_words: an unknown coding");
}

void check_coded_blocks(std::span<const CodedBlock> blocks, std::int64_t floats, std::int64_t words) {
  std::int64_t float_end = 0, word_end = 0;
  for (const CodedBlock& block : blocks) {
    const auto [begin, end] = block.elements;
    const std::int64_t elements = end - begin;
    require(float_end <= begin && 0 < elements && elements <= kMaxCodedElements && end <= floats,
            "compression: blocks must be in rising order, apart, inside the floats, of 1 to 8192 elements");
    require(block.coding != Coding::kTopK || (0 < block.kept && block.kept <= elements),
            "compression: a block keeps none or more than it has");
    require(word_end <= block.code && block.code + code_words(block.coding, elements, block.kept) <= words,
            "compression: codes must be in the order of their blocks, apart, inside the words");
    float_end = end;
    word_end = block.code + code_words(block.coding, elements, block.kept);
  }
}

}  // namespace ballast
