// Layer normalisation (Ba, Kiros and Hinton 2016). R = rows, C = width.
//
// Forward and dx: one warp per row, 4 rows a block; the row comes from DRAM once and from the first cache after that,
// mean and variance in two passes (exact where |mean| >> std). Per element, in elements of the activation: forward
// reads 1, writes 1, 8 FLOPs; dx reads 2 (3 when it accumulates), writes 1, 12 FLOPs. dgamma and dbeta: column_sums.h,
// reads 2, 5 FLOPs.
#include "compute/cuda/column_sums.h"
#include "compute/cuda/layer_kernels.h"

namespace ballast::cuda {

namespace {

constexpr int kRows = 4;  ///< of a block
constexpr float kEpsilon = 1e-5F;

__device__ inline std::int64_t row_of_warp() {
  return static_cast<std::int64_t>(blockIdx.x) * kRows + threadIdx.x / kWarp;
}

/// Sum over a row of f(column, vector of x), in one fixed order.
template <int N, class T, class Each>
__device__ inline float row_sum(std::int64_t width, const T* x, const Each& each) {
  float sum = 0.0F;
  for (std::int64_t c = (threadIdx.x % kWarp) * N; c < width; c += kWarp * N) {
    float values[N];
    load_vector(x + c, values);
    for (int i = 0; i < N; ++i) sum += each(values[i]);
  }
  return warp_sum(sum);
}

/// Cost of an element: 2e bytes, 8 FLOPs.
template <class T, int N>
__global__ void __launch_bounds__(kRows* kWarp)
    forward_kernel(std::int64_t rows, std::int64_t width, const T* x_RC, const float* gamma, const float* beta, T* y_RC,
                   float* means, float* inv_stds) {
  const std::int64_t row = row_of_warp();
  if (row >= rows) return;  // a whole warp, and there is no barrier
  const T* x = x_RC + row * width;
  const float mean = row_sum<N>(width, x, [](float v) { return v; }) / static_cast<float>(width);
  const float squares = row_sum<N>(width, x, [mean](float v) { return (v - mean) * (v - mean); });
  const float inv_std = 1.0F / sqrtf(squares / static_cast<float>(width) + kEpsilon);
  for (std::int64_t c = (threadIdx.x % kWarp) * N; c < width; c += kWarp * N) {
    float v[N], g[N], b[N];
    load_vector(x + c, v);
    load_vector(gamma + c, g);
    load_vector(beta + c, b);
    for (int i = 0; i < N; ++i) v[i] = fmaf((v[i] - mean) * inv_std, g[i], b[i]);
    store_vector(v, y_RC + row * width + c);
  }
  if (threadIdx.x % kWarp != 0) return;
  means[row] = mean;
  inv_stds[row] = inv_std;
}

/// With g = dy gamma and n = (x - mean) inv_std: dx = inv_std (g - mean_C(g) - n mean_C(g n)).
/// Cost of an element: 3e (accumulating 4e) bytes, 12 FLOPs.
template <class T, int N>
__global__ void __launch_bounds__(kRows* kWarp)
    backward_kernel(std::int64_t rows, std::int64_t width, const T* x_RC, const T* dy_RC, const float* gamma,
                    const float* means, const float* inv_stds, bool accumulate, T* dx_RC) {
  const std::int64_t row = row_of_warp();
  if (row >= rows) return;
  const float mean = means[row], inv_std = inv_stds[row];
  const T *x = x_RC + row * width, *dy = dy_RC + row * width;
  float sum = 0.0F, products = 0.0F;
  for (std::int64_t c = (threadIdx.x % kWarp) * N; c < width; c += kWarp * N) {
    float v[N], d[N], g[N];
    load_vector(x + c, v);
    load_vector(dy + c, d);
    load_vector(gamma + c, g);
    for (int i = 0; i < N; ++i) {
      sum += d[i] * g[i];
      products += d[i] * g[i] * (v[i] - mean);
    }
  }
  const float offset = warp_sum(sum) / static_cast<float>(width);
  const float slope = warp_sum(products) / static_cast<float>(width) * inv_std * inv_std;
  T* dx = dx_RC + row * width;
  for (std::int64_t c = (threadIdx.x % kWarp) * N; c < width; c += kWarp * N) {
    float v[N], d[N], g[N], old[N] = {};
    load_vector(x + c, v);
    load_vector(dy + c, d);
    load_vector(gamma + c, g);
    if (accumulate) load_vector(dx + c, old);
    for (int i = 0; i < N; ++i) old[i] += inv_std * (d[i] * g[i] - offset - (v[i] - mean) * slope);
    store_vector(old, dx + c);
  }
}

/// dy (x - mean) inv_std and dy of one row.
/// Cost of an element, with its sums: 2e bytes, 5 FLOPs.
template <class T, int N>
struct ParameterTerms {
  std::int64_t width;
  const T *x_RC, *dy_RC;
  const float *means, *inv_stds;

  __device__ void operator()(std::int64_t row, std::int64_t column, float (&adds)[2][N]) const {
    load_vector(x_RC + row * width + column, adds[0]);
    load_vector(dy_RC + row * width + column, adds[1]);
    for (int i = 0; i < N; ++i) adds[0][i] = (adds[0][i] - means[row]) * inv_stds[row] * adds[1][i];
  }
};

struct AddToParameters {
  float *dgamma, *dbeta;

  __device__ void operator()(std::int64_t column, const double (&totals)[2]) const {
    dgamma[column] += static_cast<float>(totals[0]);
    dbeta[column] += static_cast<float>(totals[1]);
  }
};

bool is_f32(ConstDeviceSpan x, std::int64_t size) { return x.size == size && x.dtype == DType::kF32; }

}  // namespace

void layer_norm(Queue& queue, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan gamma, ConstDeviceSpan beta,
                DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std) {
  const std::int64_t width = gamma.size;
  require(x.size == rows * width && y.size == x.size && x.dtype == y.dtype,
          "layer_norm: x and y are not [rows, width] of one type");
  require(is_f32(gamma, width) && is_f32(beta, width), "layer_norm: gamma and beta are not f32 [width]");
  require(is_f32(mean, rows) && is_f32(inv_std, rows), "layer_norm: mean and inv_std are not f32 [rows]");
  if (rows == 0) return;
  with_vectors(x.dtype, width, {x.data, y.data, gamma.data, beta.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    launch(blocks_for(rows, kRows), kRows * kWarp, 0, queue.stream(), forward_kernel<T, decltype(vectors)::N>, rows,
           width, numbers<T>(x), numbers<float>(gamma), numbers<float>(beta), numbers<T>(y), numbers<float>(mean),
           numbers<float>(inv_std));
  });
}

void layer_norm_backward(Queue& queue, std::int64_t rows, ConstDeviceSpan x, ConstDeviceSpan dy, ConstDeviceSpan gamma,
                         ConstDeviceSpan mean, ConstDeviceSpan inv_std, bool accumulate, DeviceSpan dx,
                         DeviceSpan dgamma, DeviceSpan dbeta) {
  const std::int64_t width = gamma.size;
  require(
      x.size == rows * width && dy.size == x.size && dx.size == x.size && dy.dtype == x.dtype && dx.dtype == x.dtype,
      "layer_norm_backward: x, dy and dx are not [rows, width] of one type");
  require(is_f32(gamma, width) && is_f32(dgamma, width) && is_f32(dbeta, width),
          "layer_norm_backward: gamma and its gradients are not f32 [width]");
  require(is_f32(mean, rows) && is_f32(inv_std, rows), "layer_norm_backward: mean and inv_std are not f32 [rows]");
  if (rows == 0) return;
  auto* partials = static_cast<float*>(queue.scratch(RowCut(rows).blocks * 2 * width * 4));
  with_vectors(x.dtype, width, {x.data, dy.data, gamma.data, dx.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int N = decltype(vectors)::N;
    // First, because dx may be the memory of dy.
    const ParameterTerms<T, N> terms{width, numbers<T>(x), numbers<T>(dy), numbers<float>(mean),
                                     numbers<float>(inv_std)};
    column_sums<2, N>(queue, rows, width, terms, AddToParameters{numbers<float>(dgamma), numbers<float>(dbeta)},
                      partials);
    launch(blocks_for(rows, kRows), kRows * kWarp, 0, queue.stream(), backward_kernel<T, N>, rows, width, numbers<T>(x),
           numbers<T>(dy), numbers<float>(gamma), numbers<float>(mean), numbers<float>(inv_std), accumulate,
           numbers<T>(dx));
  });
}

}  // namespace ballast::cuda
