// Defines: TokenLayout, open_windows: a long run of tokens in a file, cut into samples.
#pragma once

#include <cstdint>

#include "runtime/data/data_file.h"
#include "runtime/data/formats.h"

namespace ballast {

/// Where the tokens of a file lie.
struct TokenLayout {
  std::int64_t first_byte = 0;
  std::int64_t count = 0;  ///< tokens
  int bytes = 1;           ///< of one token, little-endian: 1 or 2
};

/// Sample i of a run of tokens is the window [i T, i T + T]: T tokens and, moved by one, T targets. Training and
/// validation are disjoint runs, so no token is in both.
[[nodiscard]] Datasets open_windows(const DataSection& config, const InputSpec& input,
                                    TokenLayout (*layout_of)(const DataFile&));

}  // namespace ballast
