// Defines: open_windows: runs of tokens, cut into samples.
#pragma once

#include "runtime/data/formats.h"
#include "runtime/data/token_run.h"

namespace ballast {

/// A sample is a window [i T, i T + T] of one file: T tokens and, moved by one, T targets. Samples are counted through
/// the files in their order. Training and validation are disjoint runs, so no token is in both.
[[nodiscard]] Datasets open_windows(const DataSection& config, const InputSpec& input, FindTokens find_tokens);

}  // namespace ballast
