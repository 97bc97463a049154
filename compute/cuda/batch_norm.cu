// Batch normalisation of channels-last activations (Ioffe and Szegedy 2015). R = rows (samples and pixels), C =
// channels.
//
// Statistics: each thread keeps mean and squared deviations of its rows of N columns (Welford 1962), warps, then
// blocks, are combined in order (Chan, Golub and LeVeque 1979), the last in f64: one read, and exact where |mean| >>
// std. Threads lie as in column_sums.h. Normalising and dx are elementwise, one thread per N elements. Elements of the
// activation moved per element: forward 2 reads (3 with a skip) and 1 write, some 10 FLOPs; backward 4 reads (6 with a
// skip) and 1 write (2 with dskip), 15 FLOPs.
#include "compute/cuda/column_sums.h"
#include "compute/cuda/layer_kernels.h"

namespace ballast::cuda {

namespace {

constexpr int kThreads = 256;
constexpr float kEpsilon = 1e-5F;

/// Mean and sum of squared deviations of `count` numbers.
template <class Number>
struct Moments {
  Number mean = 0, squares = 0;

  __device__ void add(const Moments<float>& other, Number count, Number other_count) {
    const Number shift = static_cast<Number>(other.mean) - mean;
    const Number part = other_count / (count + other_count);
    mean += shift * part;
    squares += static_cast<Number>(other.squares) + shift * shift * count * part;
  }
};

template <int N>
struct MomentsShared {
  Moments<float> of[kColumnWarps][N][kWarp];
};

/// How many of `rows` rows warp `warp` has when warps take them in turn.
__device__ inline std::int64_t rows_of_warp(std::int64_t rows, int warp) {
  return (rows - warp + kColumnWarps - 1) / kColumnWarps;
}

/// The moments of a range of rows, for each column.
/// Cost of an element: e bytes, 6 FLOPs.
template <class T, int N>
__global__ void __launch_bounds__(kColumnWarps* kWarp, 2)
    moments_kernel(RowCut cut, std::int64_t columns, const T* x_RC, Moments<float>* partials) {
  auto& shared = block_shared<MomentsShared<N>>();
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kWarp + lane) * N;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.y) * cut.length;
  const std::int64_t rows = min(cut.length, cut.rows - first);
  Moments<float> moments[N];
  for (std::int64_t row = warp, count = 1; row < rows && column < columns; row += kColumnWarps, ++count) {
    const float part = 1.0F / static_cast<float>(count);
    float x[N];
    load_vector(x_RC + (first + row) * columns + column, x);
    for (int i = 0; i < N; ++i) {
      const float shift = x[i] - moments[i].mean;
      moments[i].mean += shift * part;
      moments[i].squares += shift * (x[i] - moments[i].mean);
    }
  }
  for (int i = 0; i < N; ++i) shared.of[warp][i][lane] = moments[i];
  __syncthreads();
  if (column >= columns) return;
  for (int i = warp; i < N; i += kColumnWarps) {
    Moments<float> all = shared.of[0][i][lane];
    std::int64_t count = rows_of_warp(rows, 0);
    for (int w = 1; w < kColumnWarps && w < rows; ++w) {
      const std::int64_t more = rows_of_warp(rows, w);
      all.add(shared.of[w][i][lane], static_cast<float>(count), static_cast<float>(more));
      count += more;
    }
    partials[blockIdx.y * columns + column + i] = all;
  }
}

/// Cost of a column of a block: 8 bytes, 10 FLOPs.
__global__ void __launch_bounds__(128) combine_kernel(RowCut cut, std::int64_t columns, const Moments<float>* partials,
                                                      float* mean, float* inv_std, float* var) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= columns) return;
  Moments<double> all;
  for (std::int64_t block = 0; block < cut.blocks; ++block) {
    const std::int64_t before = block * cut.length;
    const std::int64_t more = min(cut.length, cut.rows - before);
    all.add(partials[block * columns + column], static_cast<double>(before), static_cast<double>(more));
  }
  const double variance = all.squares / static_cast<double>(cut.rows);
  mean[column] = static_cast<float>(all.mean);
  var[column] = static_cast<float>(variance);
  inv_std[column] = static_cast<float>(1.0 / sqrt(variance + 1e-5));
}

/// What stands before the relu, without the skip. Backward finds its sign again with the same instructions.
__device__ inline float affine(float x, float mean, float scale, float beta) { return fmaf(x - mean, scale, beta); }

/// `spread` is inv_std_C, or var_C in evaluation. y may be the memory of x or skip.
/// Cost of an element: 3e (without skip 2e) bytes, 5 (in evaluation 8) FLOPs.
template <class T, int N, bool Evaluation>
__global__ void __launch_bounds__(kThreads)
    normalise_kernel(BatchNormShape shape, std::int64_t columns, const T* x_RC, const T* skip_RC, const float* gamma,
                     const float* beta, const float* mean, const float* spread, T* y_RC) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (at >= shape.rows * columns) return;
  const std::int64_t column = at % columns;
  float x[N], g[N], b[N], m[N], s[N], skip[N] = {};
  load_vector(x_RC + at, x);
  load_vector(gamma + column, g);
  load_vector(beta + column, b);
  load_vector(mean + column, m);
  load_vector(spread + column, s);
  if (shape.skip) load_vector(skip_RC + at, skip);
  for (int i = 0; i < N; ++i) {
    const float inv_std = Evaluation ? 1.0F / sqrtf(s[i] + kEpsilon) : s[i];
    const float y = affine(x[i], m[i], g[i] * inv_std, b[i]) + skip[i];
    x[i] = shape.relu && y < 0.0F ? 0.0F : y;  // keeps NaN
  }
  store_vector(x, y_RC + at);
}

/// The tensors of batch_norm_backward as a kernel takes them.
template <class T>
struct Tensors {
  const T *x, *y, *dy;
  const float *gamma, *beta, *mean, *inv_std;
  T *dx, *dskip;
};

/// g: dy, or what a relu lets through of it. Also gives x - mean and gamma inv_std.
template <class T, int N>
struct Gradient {
  float g[N], deviation[N], scale[N];

  __device__ Gradient(const BatchNormShape& shape, const Tensors<T>& t, std::int64_t at, std::int64_t column) {
    float mean[N], inv_std[N], beta[N], y[N] = {};
    load_vector(t.dy + at, g);
    load_vector(t.x + at, deviation);
    load_vector(t.mean + column, mean);
    load_vector(t.inv_std + column, inv_std);
    load_vector(t.gamma + column, scale);
    load_vector(t.beta + column, beta);
    if (shape.skip) load_vector(t.y + at, y);
    for (int i = 0; i < N; ++i) {
      scale[i] *= inv_std[i];
      const float sign = shape.skip ? y[i] : affine(deviation[i], mean[i], scale[i], beta[i]);
      if (shape.relu && sign <= 0.0F) g[i] = 0.0F;
      deviation[i] -= mean[i];
    }
  }
};

/// g (x - mean) and g of one row.
/// Cost of an element, with its sums: 3e (without skip 2e) bytes, 5 (without skip 7) FLOPs.
template <class T, int N>
struct GradientTerms {
  BatchNormShape shape;
  std::int64_t columns;
  Tensors<T> tensors;

  __device__ void operator()(std::int64_t row, std::int64_t column, float (&adds)[2][N]) const {
    const Gradient<T, N> gradient(shape, tensors, row * columns + column, column);
    for (int i = 0; i < N; ++i) {
      adds[0][i] = gradient.g[i] * gradient.deviation[i];
      adds[1][i] = gradient.g[i];
    }
  }
};

/// Adds to the parameters, and keeps what dx needs: offset = mean_R(g), slope = mean_R(g (x - mean)) inv_std^2.
struct FinishGradients {
  double rows;
  const float* inv_std;
  float *dgamma, *dbeta, *offset, *slope;

  __device__ void operator()(std::int64_t column, const double (&totals)[2]) const {
    const auto spread = static_cast<double>(inv_std[column]);
    dgamma[column] += static_cast<float>(totals[0] * spread);
    dbeta[column] += static_cast<float>(totals[1]);
    offset[column] = static_cast<float>(totals[1] / rows);
    slope[column] = static_cast<float>(totals[0] * spread * spread / rows);
  }
};

/// dx = scale (g - offset - (x - mean) slope), dskip = g. dx or dskip may be the memory of dy.
/// Cost of an element: 5e (without skip 3e) bytes, 6 (without skip 8) FLOPs.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(BatchNormShape shape, std::int64_t columns, Tensors<T> tensors, const float* offsets,
                    const float* slopes) {
  const std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (at >= shape.rows * columns) return;
  const std::int64_t column = at % columns;
  Gradient<T, N> gradient(shape, tensors, at, column);
  float offset[N], slope[N], dx[N];
  load_vector(offsets + column, offset);
  load_vector(slopes + column, slope);
  for (int i = 0; i < N; ++i) {
    dx[i] = gradient.scale[i] * (gradient.g[i] - offset[i] - gradient.deviation[i] * slope[i]);
  }
  store_vector(dx, tensors.dx + at);
  if (tensors.dskip != nullptr) store_vector(gradient.g, tensors.dskip + at);
}

bool is_per_channel(ConstDeviceSpan x, std::int64_t columns) { return x.size == columns && x.dtype == DType::kF32; }

bool alike(ConstDeviceSpan a, ConstDeviceSpan x) { return a.size == x.size && a.dtype == x.dtype; }

void check_forward(const BatchNormShape& shape, std::int64_t columns, ConstDeviceSpan x, ConstDeviceSpan skip,
                   ConstDeviceSpan y) {
  require(x.size == shape.rows * columns && alike(y, x), "batch_norm: x and y are not [rows, channels]");
  require(shape.relu || !shape.skip, "batch_norm: a skip is added only before a relu");
  require(skip.size == (shape.skip ? x.size : 0) && (skip.empty() || skip.dtype == x.dtype),
          "batch_norm: the skip differs from x in size or type");
}

void check_backward(const BatchNormShape& shape, const BatchNormGradients& t) {
  const std::int64_t columns = t.gamma.size;
  require(t.x.size == shape.rows * columns && alike(t.dy, t.x) && alike(t.dx, t.x),
          "batch_norm_backward: x, dy and dx are not [rows, channels] of one type");
  require(shape.relu || !shape.skip, "batch_norm: a skip is added only before a relu");
  require((!shape.skip || alike(t.y, t.x)) && (t.dskip.empty() || alike(t.dskip, t.x)),
          "batch_norm_backward: y and dskip are not as x");
  require(is_per_channel(t.gamma, columns) && is_per_channel(t.beta, columns) && is_per_channel(t.mean, columns) &&
              is_per_channel(t.inv_std, columns) && is_per_channel(t.dgamma, columns) &&
              is_per_channel(t.dbeta, columns),
          "batch_norm_backward: parameters, statistics and gradients are not f32 [channels]");
}

template <bool Evaluation>
void normalise(Queue& queue, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
               ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean, ConstDeviceSpan spread,
               DeviceSpan y) {
  if (x.empty()) return;
  const void* more = shape.skip ? skip.data : x.data;
  with_vectors(
      x.dtype, gamma.size, {x.data, more, y.data, gamma.data, beta.data, mean.data, spread.data}, [&](auto vectors) {
        using T = typename decltype(vectors)::T;
        constexpr int N = decltype(vectors)::N;
        launch(blocks_for(x.size, kThreads * N), kThreads, 0, queue.stream(), normalise_kernel<T, N, Evaluation>, shape,
               gamma.size, numbers<T>(x), numbers<T>(skip), numbers<float>(gamma), numbers<float>(beta),
               numbers<float>(mean), numbers<float>(spread), numbers<T>(y));
      });
}

template <class T, int N>
void backward(Queue& queue, const BatchNormShape& shape, const BatchNormGradients& t) {
  const std::int64_t columns = t.gamma.size;
  const Tensors<T> tensors{
      numbers<T>(t.x),           numbers<T>(t.y),        numbers<T>(t.dy),
      numbers<float>(t.gamma),   numbers<float>(t.beta), numbers<float>(t.mean),
      numbers<float>(t.inv_std), numbers<T>(t.dx),       t.dskip.empty() ? nullptr : numbers<T>(t.dskip)};
  // Rounded up to 16 bytes: offsets and slopes are read as vectors.
  const std::int64_t stride = ceil_div(columns, 4) * 4;
  auto* const offset = static_cast<float*>(queue.scratch((2 * stride + RowCut(shape.rows).blocks * 2 * columns) * 4));
  float* const slope = offset + stride;
  const FinishGradients finish{static_cast<double>(shape.rows),
                               numbers<float>(t.inv_std),
                               numbers<float>(t.dgamma),
                               numbers<float>(t.dbeta),
                               offset,
                               slope};
  column_sums<2, N>(queue, shape.rows, columns, GradientTerms<T, N>{shape, columns, tensors}, finish, slope + stride);
  launch(blocks_for(t.x.size, kThreads * N), kThreads, 0, queue.stream(), backward_kernel<T, N>, shape, columns,
         tensors, offset, slope);
}

}  // namespace

void batch_norm(Queue& queue, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                ConstDeviceSpan gamma, ConstDeviceSpan beta, DeviceSpan y, DeviceSpan mean, DeviceSpan inv_std,
                DeviceSpan var) {
  const std::int64_t columns = gamma.size;
  check_forward(shape, columns, x, skip, y);
  require(is_per_channel(gamma, columns) && is_per_channel(beta, columns) && is_per_channel(mean, columns) &&
              is_per_channel(inv_std, columns) && is_per_channel(var, columns),
          "batch_norm: gamma, beta and statistics are not f32 [channels]");
  require(shape.rows > 0, "batch_norm: no rows to take statistics of");
  const RowCut cut(shape.rows);
  auto* partials = static_cast<Moments<float>*>(
      queue.scratch(cut.blocks * columns * static_cast<std::int64_t>(sizeof(Moments<float>))));
  with_vectors(x.dtype, columns, {x.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    constexpr int N = decltype(vectors)::N;
    const dim3 grid(static_cast<unsigned>(ceil_div(columns, kWarp * N)), static_cast<unsigned>(cut.blocks));
    launch(grid, kColumnWarps * kWarp, 0, queue.stream(), moments_kernel<T, N>, cut, columns, numbers<T>(x), partials);
  });
  launch(blocks_for(columns, 128), 128, 0, queue.stream(), combine_kernel, cut, columns, partials, numbers<float>(mean),
         numbers<float>(inv_std), numbers<float>(var));
  normalise<false>(queue, shape, x, skip, gamma, beta, mean, inv_std, y);
}

void batch_norm_inference(Queue& queue, const BatchNormShape& shape, ConstDeviceSpan x, ConstDeviceSpan skip,
                          ConstDeviceSpan gamma, ConstDeviceSpan beta, ConstDeviceSpan mean, ConstDeviceSpan var,
                          DeviceSpan y) {
  const std::int64_t columns = gamma.size;
  check_forward(shape, columns, x, skip, y);
  require(is_per_channel(gamma, columns) && is_per_channel(beta, columns) && is_per_channel(mean, columns) &&
              is_per_channel(var, columns),
          "batch_norm_inference: gamma, beta, mean and var are not f32 [channels]");
  normalise<true>(queue, shape, x, skip, gamma, beta, mean, var, y);
}

void batch_norm_backward(Queue& queue, const BatchNormShape& shape, const BatchNormGradients& t) {
  check_backward(shape, t);
  if (t.x.empty()) return;
  const void* y = shape.skip ? t.y.data : t.x.data;
  const void* dskip = t.dskip.empty() ? t.x.data : t.dskip.data;
  with_vectors(t.x.dtype, t.gamma.size,
               {t.x.data, y, t.dy.data, t.dx.data, dskip, t.gamma.data, t.beta.data, t.mean.data, t.inv_std.data},
               [&](auto vectors) { backward<typename decltype(vectors)::T, decltype(vectors)::N>(queue, shape, t); });
}

}  // namespace ballast::cuda
