// Defines: Head: where the rows of one head of one sample stand in the tensors of attention.
#pragma once

#include <cmath>
#include <cstdint>

#include "compute/backend.h"

namespace ballast {

/// T = positions, D = width, C = channels.
struct Head {
  std::int64_t sample, head;
  std::int64_t positions, width, channels;

  Head(const AttentionShape& shape, std::int64_t number)
      : sample(number / shape.heads),
        head(number % shape.heads),
        positions(shape.positions),
        width(shape.head_width),
        channels(shape.heads * shape.head_width) {}

  [[nodiscard]] float scale() const { return 1.0F / std::sqrt(static_cast<float>(width)); }
  /// The rows of q (part 0), k (1) or v (2) of qkv_BT(3C) or dqkv; they are 3 C apart.
  template <class Span>
  [[nodiscard]] Span of_qkv(Span qkv, std::int64_t part) const {
    const std::int64_t offset = sample * positions * 3 * channels + part * channels + head * width;
    return qkv.subspan(offset, qkv.size - offset);
  }
  /// The rows of y_BTC or dy from position `first`; they are C apart.
  template <class Span>
  [[nodiscard]] Span of_y(Span y, std::int64_t first) const {
    const std::int64_t offset = (sample * positions + first) * channels + head * width;
    return y.subspan(offset, y.size - offset);
  }
};

}  // namespace ballast
