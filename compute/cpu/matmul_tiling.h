// Defines: MatmulTiling, tile_matmul, tile_matmul_for: how a matrix product is cut into tasks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "compute/backend.h"

namespace ballast {

/// c_MN is cut into tiles of `rows` x `columns`, the last of an axis being shorter; a long K is cut into `parts` of
/// `depth` whose products are added in order. Everything follows from the shape, so the bits cannot depend on who
/// computes which tile; tile_matmul_for states the exception.
struct MatmulTiling {
  std::int64_t rows = 0, columns = 0, depth = 0;
  std::int64_t row_tiles = 0, column_tiles = 0, parts = 1;

  [[nodiscard]] std::int64_t tiles() const { return row_tiles * column_tiles; }
};

/// `may_split_k`: the caller can add up parts (c is f32 and there is no bias).
[[nodiscard]] MatmulTiling tile_matmul(const MatmulShape& shape, bool may_split_k);

/// The same parts of k in as few tiles as `threads` can share evenly: larger tiles read a and b less often. Only for a
/// kernel that gives an element the same bits in any tile.
[[nodiscard]] MatmulTiling tile_matmul_for(int threads, const MatmulShape& shape, bool may_split_k);

/// One tile of one part: where it begins and how large it is.
struct MatmulTile {
  std::int64_t row = 0, column = 0, first_k = 0;
  std::int64_t rows = 0, columns = 0, depth = 0;
};

[[nodiscard]] MatmulTile tile_at(const MatmulTiling& tiling, const MatmulShape& shape, std::int64_t task);

}  // namespace ballast
