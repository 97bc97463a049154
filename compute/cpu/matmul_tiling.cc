#include "compute/cpu/matmul_tiling.h"

#include <array>

namespace ballast {

namespace {

struct Edges {
  std::int64_t rows, columns;
};

// Largest first. A library packs its operands once for each call, so large tiles are faster, and small ones feed more
// threads. Measured on one thread of a Zen 5 at GPT-2's shapes, against one call for everything: 512 x 768 costs 2 to 5
// %, 256 x 768 and 256 x 384 cost 5 to 9 %, 128 x 128 costs 20 %.
constexpr std::array<Edges, 7> kEdges = {
    {{512, 768}, {256, 768}, {256, 384}, {128, 384}, {128, 192}, {64, 96}, {32, 96}}};
constexpr std::size_t kSmallestBeforeSplit = 3;
constexpr std::int64_t kEnoughTasks = 8;
constexpr std::int64_t kSmallestTask =
    2'000'000;  ///< multiplications: some 20 microseconds, many times the cost of a task
constexpr std::int64_t kShortestPart = 1024;
constexpr std::int64_t kGranule = 16;  ///< elements of a vector register of f32

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Cuts `size` into the fewest pieces of at most `edge`, as even as whole granules allow.
std::int64_t even_edge(std::int64_t size, std::int64_t edge) {
  return ceil_div(ceil_div(size, ceil_div(size, edge)), kGranule) * kGranule;
}

MatmulTiling tiling_of(const MatmulShape& shape, Edges edges) {
  MatmulTiling tiling;
  tiling.rows = even_edge(shape.m, edges.rows);
  tiling.columns = even_edge(shape.n, edges.columns);
  tiling.depth = shape.k;
  tiling.row_tiles = ceil_div(shape.m, tiling.rows);
  tiling.column_tiles = ceil_div(shape.n, tiling.columns);
  return tiling;
}

void split_k(const MatmulShape& shape, MatmulTiling& tiling) {
  const std::int64_t wanted = std::min(ceil_div(kEnoughTasks, tiling.tiles()), shape.k / kShortestPart);
  if (wanted < 2) return;
  tiling.depth = even_edge(shape.k, ceil_div(shape.k, wanted));
  tiling.parts = ceil_div(shape.k, tiling.depth);
}

}  // namespace

MatmulTiling tile_matmul(const MatmulShape& shape, bool may_split_k) {
  // A product whose K is many times its other edges (the weight gradient of a narrow layer) is cut along K instead.
  const bool is_tall = may_split_k && shape.k >= 4 * kShortestPart;
  const std::size_t last = is_tall ? kSmallestBeforeSplit : kEdges.size() - 1;
  std::size_t choice = 0;
  while (choice < last && tiling_of(shape, kEdges[choice]).tiles() < kEnoughTasks) {
    const Edges next = kEdges[choice + 1];
    if (std::min(next.rows, shape.m) * std::min(next.columns, shape.n) * shape.k < kSmallestTask) break;
    ++choice;
  }
  MatmulTiling tiling = tiling_of(shape, kEdges[choice]);
  if (is_tall) split_k(shape, tiling);
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
