// Defines: encode_state, decode_state: the file `state`, a frame around a Boost.Serialization archive. FORMAT.md
// describes it.
#pragma once

#include <string>

#include "checkpoints/checkpoint.h"

namespace ballast {

inline constexpr std::int64_t kMaxStateBytes = std::int64_t{64} << 20;  ///< of the archive
inline constexpr std::int64_t kStateFrameBytes = 8 + 4 + 8 + 32;        ///< magic, version, length, digest

[[nodiscard]] std::string encode_state(const TrainingState& state);
/// Nothing is parsed before its digest is checked. DataError beginning with `path`; Error(kVersion) when a newer
/// Ballast wrote it.
[[nodiscard]] TrainingState decode_state(const std::string& text, const std::string& path);

}  // namespace ballast
