// Defines: Hdf5Layout, lay_out, check_layout: the structure of weights.h5 and optimizer.h5. FORMAT.md describes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"
#include "checkpoints/hdf5/image.h"

namespace ballast {

/// A file with a dataset for each tensor and no data in it yet.
struct Hdf5Layout {
  Hdf5Image image;
  std::vector<std::int64_t> offsets;  ///< of each tensor's data, bytes; 0 for one without elements
};

/// One contiguous little-endian float32 dataset per tensor. The same bytes for the same tensors, always.
[[nodiscard]] Hdf5Layout lay_out(const std::vector<TensorSpec>& tensors);

/// Throws DataError beginning with `path` unless HDF5 finds exactly these tensors at exactly these offsets in the
/// image. Only for bytes whose digest has been checked: HDF5 is no safe parser.
void check_layout(Hdf5Image& image, const std::vector<TensorSpec>& tensors, const std::vector<std::int64_t>& offsets,
                  const std::string& path);

}  // namespace ballast
