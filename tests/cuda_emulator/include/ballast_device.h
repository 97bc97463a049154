// The emulated half of the instructions that plain CUDA C++ has no words for; nvidia/ballast_device.h of compute/cuda
// is the other. The include path chooses.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

namespace ballast::cuda {

/// One object of type T per block; two calls with one T in a kernel give the same object.
template <class T>
T& block_shared() {
  static_assert(alignof(T) <= cuda_emulator::kSharedAlignment);
  static constexpr char tag = 0;
  return *static_cast<T*>(cuda_emulator::shared_object(&tag, sizeof(T)));
}

/// The dynamic shared memory that the launch asked for, 16-byte aligned.
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(cuda_emulator::dynamic_shared_object());
}

/// d (16x8) += a (16x16) b (16x8) over a whole warp: bf16 pairs in, f32 sums, the fragments of PTX's mma.m16n8k16.
inline void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], CUDA_EMULATOR_SITE) {
  cuda_emulator::multiply_fragments(d, a, b, site);
}

/// One row of an 8x8 matrix of 16-bit elements, as ldmatrix reads it.
struct MatrixRow {
  std::uint16_t element[8];
};

/// Reads this lane's row here, where the sanitizers see it.
inline MatrixRow read_matrix_row(const void* shared_row, cuda_emulator::Site site) {
  if (reinterpret_cast<std::uintptr_t>(shared_row) % 16 != 0) {
    cuda_emulator::fail("%s:%u: ldmatrix row %p is not 16-byte aligned", site.file, site.line, shared_row);
  }
  return *static_cast<const MatrixRow*>(shared_row);
}

/// Four 8x8 matrices of 16-bit elements: lanes 8i to 8i+7 name the rows of matrix i; r[i] gets two neighbours of its
/// row lane / 4.
inline void load_matrix_x4(std::uint32_t (&r)[4], const void* shared_row, CUDA_EMULATOR_SITE) {
  const MatrixRow mine = read_matrix_row(shared_row, site);
  const cuda_emulator::WarpExchange exchange(cuda_emulator::WarpOperation::kMatrix, 0xffffffffu, mine, site);
  const int row = exchange.lane() / 4, column = exchange.lane() % 4 * 2;
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto source = exchange.from<MatrixRow>(8 * matrix + row);
    r[matrix] = source.element[column] | std::uint32_t{source.element[column + 1]} << 16;
  }
}

/// The same of the transposed matrices: r[i] gets two neighbours of column lane / 4.
inline void load_matrix_x4_transposed(std::uint32_t (&r)[4], const void* shared_row, CUDA_EMULATOR_SITE) {
  const MatrixRow mine = read_matrix_row(shared_row, site);
  const cuda_emulator::WarpExchange exchange(cuda_emulator::WarpOperation::kMatrix, 0xffffffffu, mine, site);
  const int column = exchange.lane() / 4, row = exchange.lane() % 4 * 2;
  for (int matrix = 0; matrix < 4; ++matrix) {
    const auto low = exchange.from<MatrixRow>(8 * matrix + row), high = exchange.from<MatrixRow>(8 * matrix + row + 1);
    r[matrix] = low.element[column] | std::uint32_t{high.element[column]} << 16;
  }
}

/// Copies 16 bytes behind the thread's back; they are there after copy_async_wait(), and undefined before.
inline void copy_async_16(void* shared, const void* global) {
  *static_cast<uint4*>(shared) = uint4{~0u, ~0u, ~0u, ~0u};  // NaN
  cuda_emulator::queue_async_copy({shared, global});
}
inline void copy_async_commit() { cuda_emulator::commit_async_copies(); }

/// Waits until at most N of the groups that this thread committed are unfinished.
template <int N>
void copy_async_wait() {
  // The copies happen here, in instrumented code and as late as the device may make them.
  for (const cuda_emulator::AsyncCopy& copy : cuda_emulator::finish_async_copies(N)) {
    *static_cast<uint4*>(copy.shared) = *static_cast<const uint4*>(copy.global);
  }
}

}  // namespace ballast::cuda
