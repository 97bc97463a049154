// Average pooling over all pixels of an image. B = samples, P = pixels, C = channels.
//
// One thread per N channels of a sample; neighbouring lanes take neighbouring channels, and a thread adds its pixels in
// order. Forward reads each element once, backward writes each once; 1 FLOP per element.
#include "compute/cuda/layer_kernels.h"
#include "compute/cuda/queue.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

namespace {

constexpr int kThreads = 128;

/// Cost of an element of x: e bytes, 1 FLOP.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    pool_kernel(std::int64_t outputs, std::int64_t pixels, std::int64_t channels, const T* x_BPC, T* y_BC) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (at >= outputs) return;
  const T* x = x_BPC + at / channels * pixels * channels + at % channels;
  float sums[N] = {};
  for (std::int64_t p = 0; p < pixels; ++p) {
    float values[N];
    load_vector(x + p * channels, values);
    for (int i = 0; i < N; ++i) sums[i] += values[i];
  }
  for (int i = 0; i < N; ++i) sums[i] /= static_cast<float>(pixels);
  store_vector(sums, y_BC + at);
}

/// Cost of an element of dx: e bytes, 1 FLOP.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    pool_backward_kernel(std::int64_t size, std::int64_t pixels, std::int64_t channels, const T* dy_BC, T* dx_BPC) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (at >= size) return;
  float values[N];
  load_vector(dy_BC + at / (pixels * channels) * channels + at % channels, values);
  for (int i = 0; i < N; ++i) values[i] /= static_cast<float>(pixels);
  store_vector(values, dx_BPC + at);
}

}  // namespace

void average_pool(Queue& queue, std::int64_t samples, std::int64_t pixels, ConstDeviceSpan x, DeviceSpan y) {
  require(x.size == y.size * pixels && x.dtype == y.dtype, "average_pool: x is not [samples, pixels, channels] of y");
  if (y.empty()) return;
  const std::int64_t channels = y.size / samples;
  with_vectors(x.dtype, channels, {x.data, y.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int N = decltype(vectors)::N;
    launch(blocks_for(y.size, kThreads * N), kThreads, 0, queue.stream(), pool_kernel<T, N>, y.size, pixels, channels,
           numbers<T>(x), numbers<T>(y));
  });
}

void average_pool_backward(Queue& queue, std::int64_t samples, std::int64_t pixels, ConstDeviceSpan dy, DeviceSpan dx) {
  require(dx.size == dy.size * pixels && dx.dtype == dy.dtype,
          "average_pool_backward: dx is not [samples, pixels, channels] of dy");
  if (dx.empty()) return;
  const std::int64_t channels = dy.size / samples;
  with_vectors(dx.dtype, channels, {dy.data, dx.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int N = decltype(vectors)::N;
    launch(blocks_for(dx.size, kThreads * N), kThreads, 0, queue.stream(), pool_backward_kernel<T, N>, dx.size, pixels,
           channels, numbers<T>(dy), numbers<T>(dx));
  });
}

}  // namespace ballast::cuda
