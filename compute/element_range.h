// Defines: ElementRange.
#pragma once

#include <cstdint>

namespace ballast {

/// Elements [begin, end) of a span.
struct ElementRange {
  std::int64_t begin = 0, end = 0;
};

}  // namespace ballast
