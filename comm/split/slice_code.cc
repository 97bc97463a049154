#include "comm/split/slice_code.h"

#include <algorithm>
#include <cmath>

namespace ballast {
namespace {

constexpr std::int64_t kAlign = 64;  ///< elements: 256 bytes

}  // namespace

SliceCode slice_code(const Slice& slice, const std::vector<Block>& blocks, const GradientCoding& coding) {
  SliceCode code;
  for (int b = slice.first_block; b < slice.first_block + slice.block_count; ++b) {
    const Block& block = blocks[static_cast<std::size_t>(b)];
    const std::int64_t size = block.end - block.begin;
    CodedBlock coded{.elements = {block.begin - slice.begin, block.end - slice.begin},
                     .code = code.words,
                     .coding = block.exact ? Coding::kF32 : coding.coding};
    if (coded.coding == Coding::kTopK) {
      const auto kept = std::llround(coding.keep * static_cast<double>(size));
      coded.kept = static_cast<std::int32_t>(std::clamp<std::int64_t>(kept, 1, size));
    }
    code.words += code_words(coded.coding, size, coded.kept);
    code.blocks.push_back(coded);
  }
  return code;
}

std::size_t CodingErrors::reserve(const Slice& slice, int group) {
  const std::int64_t size = slice.end - slice.begin;
  places_.push_back({group, slice.begin, size, elements_});
  elements_ += (size + kAlign - 1) / kAlign * kAlign;
  return places_.size() - 1;
}

void CodingErrors::allocate(Backend& backend) {
  if (!kept_ || elements_ == 0) return;
  memory_ = Buffer(backend, elements_, DType::kF32);
  backend.zero(memory_.span());
}

DeviceSpan CodingErrors::of(std::size_t number) const {
  const Place& place = places_[number];
  return kept_ ? memory_.span().subspan(place.offset, place.size) : DeviceSpan{};
}

std::vector<CodingError> CodingErrors::all() const {
  std::vector<CodingError> errors;
  for (std::size_t i = 0; kept_ && i < places_.size(); ++i) {
    errors.push_back({places_[i].group, places_[i].begin, of(i)});
  }
  return errors;
}

}  // namespace ballast
