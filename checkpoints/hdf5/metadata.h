// Defines: write_metadata, read_metadata: an image's bytes to and from the disk, and their digest.
#pragma once

#include <span>
#include <string>

#include "checkpoints/file_system.h"
#include "checkpoints/format/regions.h"
#include "checkpoints/hdf5/image.h"

namespace ballast {

/// Writes these ranges of the image and returns their digest: of what is in memory, so that it covers the way to the
/// disk.
std::string write_metadata(File& file, const Hdf5Image& image, std::span<const ByteRange> ranges);

struct ReadMetadata {
  Hdf5Image image;
  std::string digest;
};
[[nodiscard]] ReadMetadata read_metadata(File& file, std::int64_t size, std::span<const ByteRange> ranges);

}  // namespace ballast
