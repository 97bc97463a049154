// Defines: Extent, first_look: what of a data set is looked at before the first step, however large it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ballast {

struct Extent {
  std::size_t part = 0;
  std::int64_t first = 0, count = 0;  ///< bytes of the part
};

/// For parts of `sizes` bytes that follow each other: all bytes up to 64 MiB; of more, 64 blocks of 1 MiB, evenly
/// spread, the first and the last among them. A block that reaches into the next part is cut there.
[[nodiscard]] std::vector<Extent> first_look(std::span<const std::int64_t> sizes);

}  // namespace ballast
