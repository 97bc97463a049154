// Defines: TensorSummary, summarise, histogram_text: what `ballast inspect` says about one tensor.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace ballast {

struct TensorSummary {
  std::int64_t elements = 0;
  std::int64_t not_finite = 0;  ///< NaN and infinities; the rest speaks of the finite elements
  double norm = 0.0, min = 0.0, max = 0.0, mean = 0.0;
  std::array<std::int64_t, 16> histogram{};  ///< equal bins from min to max
};

/// Fills `out` with elements [begin, begin + out.size()).
using ReadElements = std::function<void(std::int64_t begin, std::span<float> out)>;

/// Reads at most 4 MiB at a time; twice through where the tensor is larger.
[[nodiscard]] TensorSummary summarise(std::int64_t elements, const ReadElements& read);

/// One character per bin, as high as its share of the fullest bin; blank where it is empty.
[[nodiscard]] std::string histogram_text(const TensorSummary& summary, bool unicode);

}  // namespace ballast
