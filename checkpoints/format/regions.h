// Defines: ByteRange, metadata_ranges: which bytes of an HDF5 file are tensor data and which are not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"

namespace ballast {

struct ByteRange {
  std::int64_t begin = 0, end = 0;
};

/// The parts of `file` (of `size` bytes) that hold no tensor's data, in order: HDF5's own structures and padding.
/// DataError, beginning with `path`, when a tensor reaches outside the file or two tensors overlap.
[[nodiscard]] std::vector<ByteRange> metadata_ranges(const std::vector<TensorSpec>& tensors,
                                                     const std::vector<std::int64_t>& offsets, TensorFile file,
                                                     std::int64_t size, const std::string& path);

[[nodiscard]] std::int64_t bytes_of(const TensorSpec& tensor);  ///< of its data

}  // namespace ballast
