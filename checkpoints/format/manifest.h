// Defines: Manifest, encode_manifest, decode_manifest: manifest.json. FORMAT.md describes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"

namespace ballast {

inline constexpr int kFormatMajor = 1;  ///< a reader refuses a larger one
inline constexpr int kFormatMinor = 0;  ///< a larger one may add members that older readers ignore
inline constexpr std::int64_t kMaxManifestBytes = std::int64_t{64} << 20;
inline constexpr std::int64_t kSegmentElements = std::int64_t{1} << 20;  ///< 4 MiB: the most that one digest covers

struct Manifest {
  std::int64_t step = 0;
  std::vector<Checkpoint::StoredFile> files;  ///< weights.h5, optimizer.h5, state, in this order
  std::vector<TensorSpec> tensors;
  std::vector<std::int64_t> offsets;  ///< of each tensor's data in its file, bytes; 0 for a tensor without elements
  std::vector<Checkpoint::Segment> segments;  ///< by tensor and begin
};

[[nodiscard]] std::string encode_manifest(const Manifest& manifest);

/// Checks the text's own digest before it parses a byte, then everything that can be checked without the other files.
/// DataError beginning with `path`; Error(kVersion) when a newer Ballast wrote it.
[[nodiscard]] Manifest decode_manifest(const std::string& text, const std::string& path);

}  // namespace ballast
