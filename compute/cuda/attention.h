// Defines: HeadPlace, AttentionGradients, the kernels of causal attention by type, launch_tiles.
//
// Both kinds are FlashAttention-2 (Dao 2023): scores are made tile by tile in registers and shared memory, softmax is
// rescaled as the running maximum grows, and backward makes the probabilities again from log_sum_exp. With p = softmax
// rows and Delta_t = y_t dy_t': dv = p' dy; ds = p (dy v' - Delta); dq = ds k / sqrt(D); dk = ds' q / sqrt(D). One
// kernel owns rows of dq, another rows of dk and dv: no sum is shared between blocks, so the order is fixed by the
// shape.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "compute/backend.h"
#include "compute/cuda/prelude.h"
#include "compute/cuda/queue.h"

namespace ballast::cuda {

/// Where a head of a sample lies: `index` is sample * H + head.
struct HeadPlace {
  std::int64_t q, k, v;  ///< first element in qkv, whose rows lie qkv_stride apart
  std::int64_t y;        ///< in y, whose rows lie y_stride apart
  std::int64_t row;      ///< in log_sum_exp_BHT
  std::int64_t qkv_stride, y_stride;

  __device__ HeadPlace(const AttentionShape& shape, std::int64_t index)
      : row(index * shape.positions),
        qkv_stride(3 * shape.heads * shape.head_width),
        y_stride(shape.heads * shape.head_width) {
    const std::int64_t sample = index / shape.heads;
    const std::int64_t column = index % shape.heads * shape.head_width;
    q = sample * shape.positions * qkv_stride + column;
    k = q + y_stride;
    v = k + y_stride;
    y = sample * shape.positions * y_stride + column;
  }
};

/// What backward reads and writes; delta_BHT is the sum over D of y dy.
struct AttentionGradients {
  ConstDeviceSpan qkv, dy;
  const float *log_sum_exp, *delta;
  DeviceSpan dqkv;
};

// --- attention_bf16.cu: on tensor cores
/// Whether bf16 tensors at these addresses are for attention_bf16: heads of 8, 16, ... 128 elements, rows that begin at
/// multiples of 16 bytes.
[[nodiscard]] bool fits_tensor_cores(const AttentionShape& shape, std::initializer_list<const void*> addresses);
void attention_bf16(Queue& queue, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, float* log_sum_exp);
void attention_backward_bf16(Queue& queue, const AttentionShape& shape, const AttentionGradients& tensors);

// --- attention_f32.cu: f32 arithmetic on f32 or bf16, heads of up to 256 elements
void attention_f32(Queue& queue, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, float* log_sum_exp);
void attention_backward_f32(Queue& queue, const AttentionShape& shape, const AttentionGradients& tensors);

/// launch() with one block for each tile of `rows` positions of each head, and more shared memory than the 48 KiB that
/// every kernel may have.
template <class... Parameters, class... Arguments>
void launch_tiles(Queue& queue, const AttentionShape& shape, int rows, int threads, std::size_t shared_bytes,
                  void (*kernel)(Parameters...), const Arguments&... arguments) {
  const cudaError_t status =
      cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(shared_bytes));
  if (status == cudaErrorInvalidValue) {
    throw ConfigError("attention: heads of " + std::to_string(shape.head_width) + " elements need " +
                      std::to_string(shared_bytes >> 10) + " KiB of shared memory a block, more than this device has");
  }
  check(status);
  const dim3 grid(blocks_for(shape.samples * shape.heads, 1).x, blocks_for(shape.positions, rows).x);
  launch(grid, static_cast<unsigned>(threads), shared_bytes, queue.stream(), kernel, arguments...);
}

}  // namespace ballast::cuda
