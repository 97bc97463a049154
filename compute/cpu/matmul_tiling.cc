#include "compute/cpu/matmul_tiling.h"

#include <algorithm>
#include <limits>

namespace ballast {

namespace {

constexpr std::int64_t kTasks = 8;             ///< enough for the threads of one worker
constexpr std::int64_t kTaskWork = 4'000'000;  ///< multiplications: some 40 microseconds, many times the cost of a task
constexpr std::int64_t kMostRows = 512;        ///< of a tile
constexpr std::int64_t kMostColumns = 1024;    ///< of a tile
constexpr std::int64_t kTallK = 4096;          ///< from here on k may be cut
constexpr std::int64_t kPartDepth = 1024;      ///< shortest part of k
constexpr std::int64_t kTallTileArea = std::int64_t{128} * 128;  ///< smaller tiles are slower than a cut of k
constexpr std::int64_t kGranule = 16;                            ///< f32 numbers of a vector register

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// The edge that cuts `size` into at most `pieces` pieces, as even as whole granules allow.
std::int64_t edge(std::int64_t size, std::int64_t pieces) {
  return ceil_div(ceil_div(size, pieces), kGranule) * kGranule;
}

/// A library copies the rows of a and the columns of b that a tile needs into a layout of its own, k * (row_tiles * n +
/// column_tiles * m) numbers in all: of the grids with enough tiles this finds the one with the fewest. (Measured on
/// one thread of a Zen 5 against one call for everything: tiles of 512 x 768 cost 2 to 5 %, of 256 x 384 5 to 9 %, of
/// 128 x 128 20 %.)
MatmulTiling cheapest_grid(const MatmulShape& shape, std::int64_t tiles) {
  const std::int64_t fewest_rows = ceil_div(shape.m, kMostRows);
  const std::int64_t fewest_columns = ceil_div(shape.n, kMostColumns);
  MatmulTiling best;
  std::int64_t best_cost = std::numeric_limits<std::int64_t>::max();
  for (std::int64_t row_tiles = fewest_rows; row_tiles <= std::max(fewest_rows, tiles); ++row_tiles) {
    const std::int64_t column_tiles = std::max(fewest_columns, ceil_div(tiles, row_tiles));
    const std::int64_t cost = row_tiles * shape.n + column_tiles * shape.m;
    if (cost >= best_cost) continue;
    best_cost = cost;
    best.rows = edge(shape.m, row_tiles);
    best.columns = edge(shape.n, column_tiles);
  }
  best.row_tiles = ceil_div(shape.m, best.rows);
  best.column_tiles = ceil_div(shape.n, best.columns);
  return best;
}

}  // namespace

MatmulTiling tile_matmul(const MatmulShape& shape, bool may_split_k) {
  const std::int64_t tasks = std::clamp<std::int64_t>(shape.m * shape.n * shape.k / kTaskWork, 1, kTasks);
  const bool is_tall = may_split_k && shape.k >= kTallK;
  const std::int64_t most_tiles = is_tall ? std::max<std::int64_t>(1, shape.m * shape.n / kTallTileArea) : tasks;
  MatmulTiling tiling = cheapest_grid(shape, std::min(tasks, most_tiles));
  tiling.depth = shape.k;
  if (!is_tall) return tiling;
  const std::int64_t parts = std::min(ceil_div(tasks, tiling.tiles()), shape.k / kPartDepth);
  tiling.depth = edge(shape.k, parts);
  tiling.parts = ceil_div(shape.k, tiling.depth);
  return tiling;
}

MatmulTiling tile_matmul_for(int threads, const MatmulShape& shape, bool may_split_k) {
  const MatmulTiling by_shape = tile_matmul(shape, may_split_k);
  // Two tiles for each thread: one that is held up leaves some of its work to the others.
  const std::int64_t wanted = threads == 1 ? 1 : 2 * threads;
  if (by_shape.parts > 1 || wanted >= by_shape.tiles()) return by_shape;
  MatmulTiling tiling = cheapest_grid(shape, wanted);
  tiling.depth = shape.k;
  return tiling;
}

MatmulTile tile_at(const MatmulTiling& tiling, const MatmulShape& shape, std::int64_t task) {
  MatmulTile tile;
  tile.column = task % tiling.column_tiles * tiling.columns;
  tile.row = task / tiling.column_tiles % tiling.row_tiles * tiling.rows;
  tile.first_k = task / tiling.tiles() * tiling.depth;
  tile.rows = std::min(tiling.rows, shape.m - tile.row);
  tile.columns = std::min(tiling.columns, shape.n - tile.column);
  tile.depth = std::min(tiling.depth, shape.k - tile.first_k);
  return tile;
}

}  // namespace ballast
