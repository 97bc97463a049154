// Defines: Normalisation.
#pragma once

#include <cstdint>

namespace ballast {

/// (x - mean) scale + beta, with each number of a column repeated over a RowPattern.
struct Normalisation {
  std::int64_t width;  ///< of the pattern
  const float* mean;
  const float* scale;
  const float* beta;
};

}  // namespace ballast
