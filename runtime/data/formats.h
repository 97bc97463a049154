// Defines: open_text, open_tokens, open_idx, open_synthetic, tail_samples: one function per data format, each in the
// file of its name.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "runtime/dataset.h"

namespace ballast {

/// Raw bytes as tokens: sample i of a file = bytes [i T, i T + T], T = positions of the model; the targets are the
/// tokens moved by one. One file or many, see list_files().
[[nodiscard]] Datasets open_text(const DataSection& config, const InputSpec& input);
/// uint16 little-endian tokens, cut as `text` is: without a header, or with llm.c's header of 256 int32 (magic
/// 20240520, version 1, count of tokens).
[[nodiscard]] Datasets open_tokens(const DataSection& config, const InputSpec& input);
/// Images and labels in the IDX format of MNIST, with or without gzip. A pixel x becomes x / 127.5 - 1, in [-1, 1].
[[nodiscard]] Datasets open_idx(const DataSection& config, const InputSpec& input);
/// A learnable function of (seed, index): waves with noise for features, noisy affine sequences for tokens.
[[nodiscard]] Datasets open_synthetic(const DataSection& config, const InputSpec& input, std::uint64_t seed);

/// How many of `samples` are split off the end for validation: the fraction rounded to nearest, at least one unless it
/// is 0.
[[nodiscard]] inline std::int64_t tail_samples(std::int64_t samples, double fraction) {
  if (fraction == 0.0) return 0;
  return std::max<std::int64_t>(1, std::llround(static_cast<double>(samples) * fraction));
}

}  // namespace ballast
