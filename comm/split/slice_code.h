// Defines: GradientCoding, SliceCode, slice_code, CodingErrors: slices of sums in fewer bits, and what that leaves
// over.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/split/partition.h"
#include "compute/backend.h"

namespace ballast {

/// How the blocks of a slice are coded, counted from the slice's begin.
struct SliceCode {
  std::vector<CodedBlock> blocks;
  std::int64_t words = 0;
};
[[nodiscard]] SliceCode slice_code(const Slice& slice, const std::vector<Block>& blocks, const GradientCoding& coding);

/// Error feedback (Seide et al. 2014; Karimireddy et al. 2019): what a code leaves out of a group's gradient is added
/// to the group's next one. It belongs to the group, and lies where the group's part of the slice is coded.
class CodingErrors {
 public:
  explicit CodingErrors(const GradientCoding& coding) : kept_(coding.leaves_errors()) {}

  /// A place for the errors of `group` in `slice`. Returns its number.
  std::size_t reserve(const Slice& slice, int group);
  /// Behind the last reserve(): zeros everywhere.
  void allocate(Backend& backend);
  /// Empty where codings leave no errors.
  [[nodiscard]] DeviceSpan of(std::size_t number) const;
  [[nodiscard]] std::vector<CodingError> all() const;

 private:
  struct Place {
    int group = 0;
    std::int64_t begin = 0, size = 0;  ///< flat elements
    std::int64_t offset = 0;           ///< elements of memory_
  };
  bool kept_;
  std::vector<Place> places_;
  std::int64_t elements_ = 0;
  Buffer memory_;
};

}  // namespace ballast
