// Defines: IdxFile, load_idx: a file in the IDX format of MNIST (LeCun, Cortes and Burges).
//
// Big-endian. Byte 0 and 1: zero. Byte 2: element type, 0x08 = unsigned byte. Byte 3: number of dimensions. Then one
// uint32 per dimension, then the elements, row-major. The whole file may be compressed with gzip.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ballast {

struct IdxFile {
  std::vector<std::int64_t> dims;
  std::vector<std::uint8_t> elements;
  std::int64_t header_bytes = 0;  ///< offset of element 0 in the (decompressed) file
  std::string fingerprint;        ///< of the file as it lies on disk
};

/// Loads bytes with `min_dims` to `max_dims` dimensions. DataError names the offset in the decompressed content. Memory
/// is taken only after the header was checked against the size of the file.
[[nodiscard]] IdxFile load_idx(const std::string& path, int min_dims, int max_dims);

}  // namespace ballast
