// Causal attention: arguments are checked, delta is made, and the kernels for the type are chosen. See attention.h.
//
// delta_BHT: 8 lanes a row add y dy over D and halve; reads 2 elements for each of y, writes 4 bytes a row.
#include "compute/cuda/attention.h"
#include "compute/cuda/layer_kernels.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kRowLanes = 8;

/// Sum over D of y dy for one row of a head. `rows` = B H T.
/// Cost of an element of y: 2e bytes, 2 FLOPs.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    delta_kernel(AttentionShape shape, std::int64_t rows, const T* y, const T* dy, float* delta) {
  const std::int64_t row = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kRowLanes;
  float sum = 0.0F;
  if (row < rows) {
    const HeadPlace head(shape, row / shape.positions);
    const std::int64_t first = head.y + row % shape.positions * head.y_stride;
    for (std::int64_t d = threadIdx.x % kRowLanes * N; d < shape.head_width; d += kRowLanes * N) {
      float a[N], b[N];
      load_vector(y + first + d, a);
      load_vector(dy + first + d, b);
      for (int i = 0; i < N; ++i) sum += a[i] * b[i];
    }
  }
  for (int apart = kRowLanes / 2; apart > 0; apart /= 2) sum += __shfl_xor_sync(kFullWarp, sum, apart);
  if (row < rows && threadIdx.x % kRowLanes == 0) delta[row] = sum;
}

void check_shapes(const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y, ConstDeviceSpan log_sum_exp) {
  const std::int64_t rows = shape.samples * shape.positions;
  const std::int64_t channels = shape.heads * shape.head_width;
  require(y.size == rows * channels && qkv.size == 3 * y.size,
          "attention: qkv is not [samples, positions, 3, heads, width] of y");
  require(qkv.dtype == y.dtype, "attention: qkv and y differ in type");
  require(log_sum_exp.size == rows * shape.heads && log_sum_exp.dtype == DType::kF32,
          "attention: log_sum_exp is not f32 [samples, heads, positions]");
}

}  // namespace

void attention(Queue& queue, const AttentionShape& shape, ConstDeviceSpan qkv, DeviceSpan y, DeviceSpan log_sum_exp) {
  check_shapes(shape, qkv, y, log_sum_exp);
  if (y.empty()) return;
  const bool bf16 = y.dtype == DType::kBF16 && fits_tensor_cores(shape, {qkv.data, y.data});
  (bf16 ? attention_bf16 : attention_f32)(queue, shape, qkv, y, numbers<float>(log_sum_exp));
}

void attention_backward(Queue& queue, const AttentionShape& shape, ConstDeviceSpan qkv, ConstDeviceSpan y,
                        ConstDeviceSpan dy, ConstDeviceSpan log_sum_exp, DeviceSpan dqkv) {
  check_shapes(shape, qkv, y, log_sum_exp);
  require(dy.size == y.size && dy.dtype == y.dtype && dqkv.size == qkv.size && dqkv.dtype == qkv.dtype,
          "attention_backward: the gradients differ from qkv and y in size or type");
  if (y.empty()) return;
  const std::int64_t rows = log_sum_exp.size;
  auto* const delta = static_cast<float*>(queue.scratch(rows * size_of(DType::kF32)));
  with_vectors(y.dtype, shape.head_width, {y.data, dy.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    launch(blocks_for(rows * kRowLanes, kThreads), kThreads, 0, queue.stream(), delta_kernel<T, decltype(vectors)::N>,
           shape, rows, numbers<T>(y), numbers<T>(dy), delta);
  });
  const bool bf16 = y.dtype == DType::kBF16 && fits_tensor_cores(shape, {qkv.data, dy.data, dqkv.data});
  const AttentionGradients tensors{qkv, dy, numbers<float>(log_sum_exp), delta, dqkv};
  (bf16 ? attention_backward_bf16 : attention_backward_f32)(queue, shape, tensors);
}

}  // namespace ballast::cuda
