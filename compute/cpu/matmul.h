// Defines: Matmul: matrix products of any size on all threads.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

#include "compute/backend.h"
#include "compute/cpu/matmul_tiling.h"
#include "compute/cpu/onednn.h"
#include "compute/cpu/primitive_cache.h"
#include "compute/cpu/thread_pool.h"

namespace ballast {

/// Cuts c into tiles (matmul_tiling.h) so that the bits follow from the shape alone; each is one call of a library on
/// one thread. f32 goes to gemm_f32; bf16 goes to bf16_gemm where the processor has it, else to oneDNN, or is widened
/// to f32 where oneDNN has nothing fast for it. Called from one thread at a time.
class Matmul {
 public:
  Matmul(ThreadPool& pool, WorkspacePool& workspaces) : pool_(pool), workspaces_(workspaces) {}

  /// Backend::matmul.
  void run(const MatmulShape& shape, ConstDeviceSpan a, ConstDeviceSpan b, ConstDeviceSpan bias, DeviceSpan c);

 private:
  /// Everything that a compiled bf16 tile depends on.
  struct Key {
    std::int64_t rows, columns, depth, lda, ldb, ldc;
    bool transpose_a, transpose_b, accumulate, has_bias, f32_out;
    auto operator<=>(const Key&) const = default;
  };
  struct TileKernel {
    OneDnnKernel kernel;
    dnnl::memory::desc a, b, bias, c;
    bool fast = false;
  };
  struct Product {
    MatmulShape shape;
    ConstDeviceSpan a, b, bias;
    DeviceSpan c;
  };
  /// The kernels of one product: a tile is whole or the last of its axis, so there are at most eight sizes.
  struct Bf16Tiles {
    std::array<TileKernel, 8> kernels;
    bool all_fast = true;
    static std::size_t kind(const MatmulTiling& tiling, const MatmulTile& tile) {
      return (tile.rows == tiling.rows ? 0U : 1U) + (tile.columns == tiling.columns ? 0U : 2U) +
             (tile.depth == tiling.depth ? 0U : 4U);
    }
  };

  void run_f32(const Product& product);
  void run_bf16(const Product& product);
  void run_own(const Product& product, bool may_split_k);
  [[nodiscard]] bool run_onednn(const Product& product, const MatmulTiling& tiling);
  void run_widened(const Product& product);
  /// Runs `multiply(product of the part, tile)` for every tile, and adds the parts up.
  template <typename Multiply>
  void run_tiles(const Product& product, const MatmulTiling& tiling, const Multiply& multiply);
  static void multiply_f32(const Product& product, const MatmulTile& tile);
  void multiply_own(const Product& product, const MatmulTile& tile);
  void multiply_onednn(const Product& product, const MatmulTile& tile, const TileKernel& made);
  [[nodiscard]] Bf16Tiles kernels_of(const Product& product, const MatmulTiling& tiling);
  [[nodiscard]] TileKernel kernel_of(const Product& product, const MatmulTile& tile);

  ThreadPool& pool_;
  WorkspacePool& workspaces_;
  PrimitiveCache<Key, TileKernel> kernels_;
  AlignedMemory parts_;
  AlignedMemory widened_;
};

}  // namespace ballast
