#include "compute/cpu/matmul.h"

#include <array>
#include <utility>

#include "compute/cpu/bf16_gemm.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/parts.h"
#include "compute/error.h"

namespace ballast {

namespace {

using Dims = dnnl::memory::dims;

// From this k on bf16_gemm is faster than oneDNN; below, a tile of c is written more than it is computed.
constexpr std::int64_t kOwnDepth = 32;

// Elements between the stored rows of the operands.
std::int64_t lda_of(const MatmulShape& shape) { return shape.transpose_a ? shape.m : shape.k; }
std::int64_t ldb_of(const MatmulShape& shape) { return shape.transpose_b ? shape.k : shape.n; }

/// Layout of a rows x columns piece of a matrix that is stored row by row, or column by column when `transposed`.
dnnl::memory::desc piece(std::int64_t rows, std::int64_t columns, DType dtype, bool transposed, std::int64_t stride) {
  return {Dims{rows, columns}, onednn_type(dtype), transposed ? Dims{1, stride} : Dims{stride, 1}};
}

/// The operand from element (row, column) on.
ConstDeviceSpan from(ConstDeviceSpan matrix, std::int64_t row, std::int64_t column, bool transposed,
                     std::int64_t stride) {
  const std::int64_t offset = transposed ? column * stride + row : row * stride + column;
  return matrix.subspan(offset, matrix.size - offset);
}

const float* floats(ConstDeviceSpan x) { return static_cast<const float*>(x.data); }

/// Before the product is added: c = bias, or c += bias. The tile is in cache when the product comes.
void start_with_bias(const float* bias_N, const MatmulTile& tile, bool accumulate, float* c, std::int64_t ldc) {
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    float* c_N = c + row * ldc;
    for (std::int64_t column = 0; column < tile.columns; ++column) {
      c_N[column] = (accumulate ? c_N[column] : 0.0F) + bias_N[column];
    }
  }
}

void check(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias, ConstDeviceSpan c) {
  require(shape.m >= 0 && shape.n >= 0 && shape.k >= 1, "matmul: m and n may not be negative, k must be positive");
  require(a.size == shape.m * shape.k && b.size == shape.k * shape.n && c.size == shape.m * shape.n,
          "matmul: an operand's size differs from its shape");
  require(bias.empty() || (bias.size == shape.n && bias.dtype == DType::kF32), "matmul: bias must be n numbers of f32");
  require(a.dtype == b.dtype && (c.dtype == a.dtype || c.dtype == DType::kF32),
          "matmul: a and b must have one type, and c that type or f32");
  require(!shape.accumulate || c.dtype == DType::kF32, "matmul: accumulate needs c in f32");
}

}  // namespace

void Matmul::run(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias, DeviceSpan c) {
  check(shape, a, b, bias, c);
  if (shape.m == 0 || shape.n == 0) return;
  const Product product{shape, a, b, bias, c};
  if (a.dtype == DType::kF32) {
    run_f32(product);
  } else {
    run_bf16(product);
  }
}

template <typename Multiply>
void Matmul::run_tiles(const Product& product, const MatmulTiling& tiling, const Multiply& multiply) {
  if (tiling.parts == 1) {
    pool_.run(tiling.tiles(), [&](std::int64_t task) { multiply(product, tile_at(tiling, product.shape, task)); });
    return;
  }
  const DeviceSpan c = product.c;
  const DeviceSpan parts{parts_.at_least(tiling.parts * c.bytes()), tiling.parts * c.size, DType::kF32};
  pool_.run(tiling.tiles() * tiling.parts, [&](std::int64_t task) {
    Product part = product;
    part.shape.accumulate = false;
    part.c = parts.subspan(task / tiling.tiles() * c.size, c.size);
    multiply(part, tile_at(tiling, product.shape, task));
  });
  add_parts(pool_, parts, product.shape.accumulate, c);
}

void Matmul::multiply_f32(const Product& product, const MatmulTile& tile) {
  MatmulShape shape = product.shape;
  const std::int64_t lda = lda_of(shape);
  const std::int64_t ldb = ldb_of(shape);
  const std::int64_t ldc = shape.n;
  float* c = static_cast<float*>(product.c.data) + tile.row * ldc + tile.column;
  if (!product.bias.empty()) {
    start_with_bias(floats(product.bias) + tile.column, tile, shape.accumulate, c, ldc);
    shape.accumulate = true;
  }
  shape.m = tile.rows;
  shape.n = tile.columns;
  shape.k = tile.depth;
  gemm_f32(shape, floats(from(product.a, tile.row, tile.first_k, shape.transpose_a, lda)), lda,
           floats(from(product.b, tile.first_k, tile.column, shape.transpose_b, ldb)), ldb, c, ldc, 1.0F);
}

void Matmul::run_f32(const Product& product) {
  run_tiles(product, tile_matmul(product.shape, product.bias.empty()), multiply_f32);
}

Matmul::TileKernel Matmul::kernel_of(const Product& product, const MatmulTile& tile) {
  const auto& shape = product.shape;
  const Key key{.rows = tile.rows,
                .columns = tile.columns,
                .depth = tile.depth,
                .lda = lda_of(shape),
                .ldb = ldb_of(shape),
                .ldc = shape.n,
                .transpose_a = shape.transpose_a,
                .transpose_b = shape.transpose_b,
                .accumulate = shape.accumulate,
                .has_bias = !product.bias.empty(),
                .f32_out = product.c.dtype == DType::kF32};
  return kernels_.get(key, [&] {
    TileKernel made;
    made.a = piece(key.rows, key.depth, product.a.dtype, key.transpose_a, key.lda);
    made.b = piece(key.depth, key.columns, product.b.dtype, key.transpose_b, key.ldb);
    made.c = piece(key.rows, key.columns, product.c.dtype, false, key.ldc);
    if (key.has_bias) made.bias = piece(1, key.columns, DType::kF32, false, key.columns);
    const auto description = describe_matmul(workspaces_.engine(), made.a, made.b, made.bias, made.c, key.accumulate);
    made.fast = is_fast(description);
    if (made.fast) made.kernel = make_kernel(description);
    return made;
  });
}

Matmul::Bf16Tiles Matmul::kernels_of(const Product& product, const MatmulTiling& tiling) {
  Product part = product;
  if (tiling.parts > 1) part.shape.accumulate = false;
  Bf16Tiles tiles;
  std::array<bool, 8> known{};
  for (std::int64_t task = 0; task < tiling.tiles() * tiling.parts && tiles.all_fast; ++task) {
    const MatmulTile tile = tile_at(tiling, product.shape, task);
    const std::size_t kind = Bf16Tiles::kind(tiling, tile);
    if (std::exchange(known[kind], true)) continue;
    tiles.kernels[kind] = kernel_of(part, tile);
    tiles.all_fast = tiles.kernels[kind].fast;
  }
  return tiles;
}

void Matmul::multiply_onednn(const Product& product, const MatmulTile& tile, const TileKernel& made) {
  const auto& shape = product.shape;
  const ConstDeviceSpan a = from(product.a, tile.row, tile.first_k, shape.transpose_a, lda_of(shape));
  const ConstDeviceSpan b = from(product.b, tile.first_k, tile.column, shape.transpose_b, ldb_of(shape));
  const ConstDeviceSpan c = from(product.c, tile.row, tile.column, false, shape.n);
  const auto workspace = workspaces_.lend();
  if (product.bias.empty()) {
    return execute(
        made.kernel, *workspace,
        {{DNNL_ARG_SRC, made.a, a.data}, {DNNL_ARG_WEIGHTS, made.b, b.data}, {DNNL_ARG_DST, made.c, c.data}});
  }
  execute(made.kernel, *workspace,
          {{DNNL_ARG_SRC, made.a, a.data},
           {DNNL_ARG_WEIGHTS, made.b, b.data},
           {DNNL_ARG_BIAS, made.bias, product.bias.subspan(tile.column, tile.columns).data},
           {DNNL_ARG_DST, made.c, c.data}});
}

bool Matmul::run_onednn(const Product& product, const MatmulTiling& tiling) {
  const Bf16Tiles tiles = kernels_of(product, tiling);
  if (!tiles.all_fast) return false;
  run_tiles(product, tiling, [&](const Product& part, const MatmulTile& tile) {
    multiply_onednn(part, tile, tiles.kernels[Bf16Tiles::kind(tiling, tile)]);
  });
  return true;
}

void Matmul::multiply_own(const Product& product, const MatmulTile& tile) {
  const auto& shape = product.shape;
  const auto operand = [](ConstDeviceSpan x, std::int64_t stride, bool transposed) {
    return Bf16Operand{static_cast<const Bf16*>(x.data), stride, transposed};
  };
  const std::int64_t lda = lda_of(shape);
  const std::int64_t ldb = ldb_of(shape);
  const ConstDeviceSpan a = from(product.a, tile.row, tile.first_k, shape.transpose_a, lda);
  const ConstDeviceSpan b = from(product.b, tile.first_k, tile.column, shape.transpose_b, ldb);
  const std::int64_t offset = tile.row * shape.n + tile.column;
  const Bf16Gemm gemm{.m = tile.rows,
                      .n = tile.columns,
                      .k = tile.depth,
                      .a = operand(a, lda, shape.transpose_a),
                      .b = operand(b, ldb, shape.transpose_b),
                      .bias = product.bias.empty() ? nullptr : floats(product.bias) + tile.column,
                      .c = product.c.subspan(offset, product.c.size - offset).data,
                      .c_stride = shape.n,
                      .c_is_bf16 = product.c.dtype == DType::kBF16,
                      .accumulate = shape.accumulate};
  const auto workspace = workspaces_.lend();
  bf16_gemm(gemm, workspace->scratch.at_least(bf16_gemm_scratch(gemm.m, gemm.n, gemm.k)));
}

void Matmul::run_own(const Product& product, bool may_split_k) {
  const MatmulTiling tiling = tile_matmul_for(pool_.threads(), product.shape, may_split_k);
  run_tiles(product, tiling, [&](const Product& part, const MatmulTile& tile) { multiply_own(part, tile); });
}

void Matmul::run_bf16(const Product& product) {
  const bool may_split_k = product.bias.empty() && product.c.dtype == DType::kF32;
  if (has_bf16_kernels() && product.shape.k >= kOwnDepth) return run_own(product, may_split_k);
  if (!run_onednn(product, tile_matmul(product.shape, may_split_k))) run_widened(product);
}

void Matmul::run_widened(const Product& product) {
  const bool narrow_out = product.c.dtype != DType::kF32;
  const std::int64_t floats_needed = product.a.size + product.b.size + (narrow_out ? product.c.size : 0);
  const DeviceSpan memory{widened_.at_least(floats_needed * size_of(DType::kF32)), floats_needed, DType::kF32};
  const DeviceSpan a = memory.subspan(0, product.a.size);
  const DeviceSpan b = memory.subspan(a.size, product.b.size);
  const DeviceSpan c = narrow_out ? memory.subspan(a.size + b.size, product.c.size) : product.c;
  convert(pool_, product.a, a);
  convert(pool_, product.b, b);
  run_f32({product.shape, a, b, product.bias, c});
  if (narrow_out) convert(pool_, c, product.c);
}

}  // namespace ballast
