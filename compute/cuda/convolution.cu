// Convolution as products of matrices that are never written down (implicit GEMM; Chetlur et al., cuDNN, 2014). Images
// are BYXC; P = output pixels (B Y' X'), I / O = inputs / outputs, K = kernel edge, k = (tap, channel), S = pieces of a
// sum.
//
//   forward         y_PO   = x_P(KKI)  w_O(KKI)'      x through the kernel, zeros past its edge
//   of the data     dx_PI  = dy_P(KKO) w_I(KKO)'      P = input pixels here
//   of the weights  dw_O(KKI) += dy_PO' x_P(KKI)      P is cut in S pieces by the shape, added in order by a second
//   kernel
//
// Weights come as OIKK and are rearranged first. 2 P O I K K FLOPs each. Per 64 x 64 of a result and step of depth (64
// bytes) a block reads 8 KiB; images come from DRAM about once, and from the second cache K K C / 64 times. Threads:
// convolution_tiles.h.
#include <algorithm>
#include <numeric>

#include "compute/cuda/convolution.h"
#include "compute/cuda/convolution_tiles.h"
#include "compute/cuda/layer_kernels.h"
#include "compute/cuda/queue.h"

namespace ballast::cuda {

namespace {

constexpr std::int64_t kMostTiles = 512;    ///< blocks that the sum over pixels is cut for
constexpr std::int64_t kLeastPixels = 512;  ///< of a piece of that sum

/// w_OIKK -> packed_(O)(KK)(I), or packed_(I)(KK)(O) for the gradient of the data.
/// Cost of a weight: 2e bytes, 0 FLOPs.
template <class T, bool Data>
__global__ void __launch_bounds__(kThreads) pack_kernel(int outputs, int inputs, int taps, const T* w, T* packed) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= static_cast<std::int64_t>(outputs) * inputs * taps) return;
  const int channels = Data ? outputs : inputs;
  const int channel = static_cast<int>(at % channels);
  const int tap = static_cast<int>(at / channels % taps);
  const std::int64_t row = at / channels / taps;
  const std::int64_t output = Data ? channel : row;
  const std::int64_t input = Data ? row : channel;
  packed[at] = w[(output * inputs + input) * taps + tap];
}

template <class T>
struct alignas(16) ImageShared {
  T a[2][kSide * (kDepth<T> + kPad<T>)], b[2][kSide * (kDepth<T> + kPad<T>)];
  float result[kSide][kSide + 4];
  PixelPlace places[kSide];
};

/// Writes a tile of the result; `rows` and `columns` of it exist.
template <int N, class T>
__device__ inline void store_result(const float (*result)[kSide + 4], std::int64_t rows, std::int64_t columns, T* to,
                                    std::int64_t stride) {
  for (int i = threadIdx.x; i < kSide * kSide / N; i += kThreads) {
    const int row = i / (kSide / N);
    const int column = i % (kSide / N) * N;
    if (row >= rows || column >= columns) continue;
    float values[N];
    for (int j = 0; j < N; ++j) values[j] = result[row][column + j];
    store_vector(values, to + row * stride + column);
  }
}

/// 64 pixels of 64 channels of y, or of dx where `Data`. packed is [outputs][depth].
/// Cost of a call: e (x + w + y) bytes, 2 P O I K^2 FLOPs.
template <class T, int N, bool Data>
__global__ void __launch_bounds__(kThreads)
    image_kernel(Window window, std::int64_t pixels, int outputs, const T* image, const T* packed, T* result) {
  constexpr int kStride = kDepth<T> + kPad<T>;
  constexpr int kPieces = kDepth<T> / N;
  auto& shared = block_shared<ImageShared<T>>();
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kSide;
  const int first_output = static_cast<int>(blockIdx.y) * kSide;
  const int depth = window.kernel * window.kernel * window.channels;
  if (threadIdx.x < kSide) shared.places[threadIdx.x] = window.place_of<Data>(first + threadIdx.x);
  __syncthreads();
  const auto copy = [&](int stage, int from) {
    for (int i = threadIdx.x; i < kSide * kPieces; i += kThreads) {
      const int row = i / kPieces;
      const int k = from + i % kPieces * N;
      const bool exists = k < depth && first + row < pixels;
      const std::int64_t at = exists ? window.element<Data>(shared.places[row], k) : -1;
      const bool has_weight = k < depth && first_output + row < outputs;
      const std::int64_t weight = static_cast<std::int64_t>(first_output + row) * depth + k;
      const int to = row * kStride + i % kPieces * N;
      copy_elements<N>(at >= 0 ? image + at : nullptr, shared.a[stage] + to);
      copy_elements<N>(has_weight ? packed + weight : nullptr, shared.b[stage] + to);
    }
    copy_async_commit();
  };
  ProductTile<T> product;
  copy(0, 0);
  for (int k = 0, stage = 0; k < depth; k += kDepth<T>, stage = 1 - stage) {
    copy(1 - stage, k + kDepth<T>);  // zeros behind the last
    copy_async_wait<1>();
    __syncthreads();
    product.add_rows(shared.a[stage], shared.b[stage]);
    __syncthreads();
  }
  product.write(shared.result);
  __syncthreads();
  store_result<N>(shared.result, pixels - first, outputs - first_output, result + first * outputs + first_output,
                  outputs);
}

template <class T>
struct alignas(16) WeightShared {
  T a[2][kDepth<T> * (kSide + kPad<T>)], b[2][kDepth<T> * (kSide + kPad<T>)];
  float result[kSide][kSide + 4];
};

/// partials_SO(KKI): 64 outputs by 64 columns, summed over the `length` pixels of piece blockIdx.z.
/// Cost of a call: e (x + y) + 4 S w bytes, 2 P O I K^2 FLOPs.
template <class T, int N>
__global__ void __launch_bounds__(kThreads) weight_kernel(Window window, std::int64_t pixels, std::int64_t length,
                                                          int outputs, const T* x, const T* dy, float* partials) {
  constexpr int kStride = kSide + kPad<T>;
  constexpr int kPieces = kSide / N;
  auto& shared = block_shared<WeightShared<T>>();
  const int first_output = static_cast<int>(blockIdx.x) * kSide;
  const int first_column = static_cast<int>(blockIdx.y) * kSide;
  const int columns = window.kernel * window.kernel * window.channels;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.z) * length;
  const std::int64_t end = min(first + length, pixels);
  const auto copy = [&](int stage, std::int64_t from) {
    for (int i = threadIdx.x; i < kDepth<T> * kPieces; i += kThreads) {
      const std::int64_t pixel = from + i / kPieces;
      const int piece = i % kPieces * N;
      const bool has_dy = pixel < end && first_output + piece < outputs;
      const bool has_x = pixel < end && first_column + piece < columns;
      const std::int64_t at = has_x ? window.element<false>(window.place_of<false>(pixel), first_column + piece) : -1;
      const int to = i / kPieces * kStride + piece;
      copy_elements<N>(has_dy ? dy + pixel * outputs + first_output + piece : nullptr, shared.a[stage] + to);
      copy_elements<N>(at >= 0 ? x + at : nullptr, shared.b[stage] + to);
    }
    copy_async_commit();
  };
  ProductTile<T> product;
  copy(0, first);
  int stage = 0;
  for (std::int64_t pixel = first; pixel < end; pixel += kDepth<T>, stage = 1 - stage) {
    copy(1 - stage, pixel + kDepth<T>);
    copy_async_wait<1>();
    __syncthreads();
    product.add_columns(shared.a[stage], shared.b[stage]);
    __syncthreads();
  }
  product.write(shared.result);
  __syncthreads();
  float* to = partials + (static_cast<std::int64_t>(blockIdx.z) * outputs + first_output) * columns + first_column;
  store_result<1>(shared.result, outputs - first_output, columns - first_column, to, columns);
}

/// dw_OIKK += the pieces' sums, in order.
/// Cost of a weight: 4 S + 8 bytes, S + 1 FLOPs.
__global__ void __launch_bounds__(kThreads)
    add_pieces_kernel(std::int64_t pieces, std::int64_t size, int inputs, int taps, const float* partials, float* dw) {
  const std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (at >= size) return;
  float sum = 0.0F;
  for (std::int64_t piece = 0; piece < pieces; ++piece) sum += partials[piece * size + at];
  const std::int64_t input = at % inputs;
  const std::int64_t tap = at / inputs % taps;
  const std::int64_t output = at / inputs / taps;
  dw[(output * inputs + input) * taps + tap] += sum;
}

std::int64_t weights_in(const ConvShape& shape) { return shape.outputs * shape.inputs * shape.kernel * shape.kernel; }

/// The window through which forward reads x, or the gradient of the data dy.
Window window_of(const ConvShape& shape, bool data) {
  const auto rows = static_cast<int>(shape.rows), columns = static_cast<int>(shape.columns);
  const auto out_rows = static_cast<int>(shape.out_rows()), out_columns = static_cast<int>(shape.out_columns());
  const auto kernel = static_cast<int>(shape.kernel), stride = static_cast<int>(shape.stride);
  const auto pad = static_cast<int>(shape.pad);
  if (data) return {out_rows, out_columns, static_cast<int>(shape.outputs), rows, columns, kernel, stride, pad};
  return {rows, columns, static_cast<int>(shape.inputs), out_rows, out_columns, kernel, stride, pad};
}

template <bool Data>
void convolve(Queue& queue, const ConvShape& shape, ConstDeviceSpan image, ConstDeviceSpan w, DeviceSpan result) {
  require(w.dtype == image.dtype, "conv2d: tensors must have one type");
  const Window window = window_of(shape, Data);
  const auto outputs = static_cast<int>(Data ? shape.inputs : shape.outputs);
  const std::int64_t pixels = result.size / outputs;
  if (pixels == 0) return;
  void* const packed = queue.scratch(w.bytes());
  with_vectors(image.dtype, std::gcd(shape.inputs, shape.outputs), {image.data, result.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    launch(blocks_for(w.size, kThreads), kThreads, 0, queue.stream(), pack_kernel<T, Data>, shape.outputs, shape.inputs,
           shape.kernel * shape.kernel, numbers<T>(w), static_cast<T*>(packed));
    const dim3 grid(blocks_for(pixels, kSide).x, blocks_for(outputs, kSide).x);
    launch(grid, kThreads, 0, queue.stream(), image_kernel<T, decltype(vectors)::N, Data>, window, pixels, outputs,
           numbers<T>(image), static_cast<const T*>(packed), numbers<T>(result));
  });
}

}  // namespace

void check_convolution(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, ConstDeviceSpan y) {
  require(shape.samples >= 0 && shape.inputs >= 1 && shape.outputs >= 1 && shape.kernel >= 1 && shape.stride >= 1 &&
              shape.pad >= 0 && shape.rows + 2 * shape.pad >= shape.kernel &&
              shape.columns + 2 * shape.pad >= shape.kernel,
          "conv2d: a dimension is out of range, or the kernel is larger than the padded image");
  require(x.size == shape.samples * shape.rows * shape.columns * shape.inputs &&
              y.size == shape.samples * shape.out_rows() * shape.out_columns() * shape.outputs &&
              w.size == weights_in(shape),
          "conv2d: a tensor's size differs from its shape");
  require(x.dtype == y.dtype, "conv2d: tensors must have one type");
}

void pack_weights(Queue& queue, const ConvShape& shape, ConstDeviceSpan w, void* packed) {
  with_vectors(w.dtype, 1, {w.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    launch(blocks_for(w.size, kThreads), kThreads, 0, queue.stream(), pack_kernel<T, false>, shape.outputs,
           shape.inputs, shape.kernel * shape.kernel, numbers<T>(w), static_cast<T*>(packed));
  });
}

void conv2d(Queue& queue, const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y) {
  check_convolution(shape, x, w, y);
  convolve<false>(queue, shape, x, w, y);
}

void conv2d_backward_data(Queue& queue, const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w, DeviceSpan dx) {
  check_convolution(shape, dx, w, dy);
  convolve<true>(queue, shape, dy, w, dx);
}

void conv2d_backward_weights(Queue& queue, const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy,
                             DeviceSpan dw) {
  require(dw.dtype == DType::kF32, "conv2d: the gradient of the weights is f32");
  check_convolution(shape, x, dw, dy);
  const std::int64_t pixels = dy.size / shape.outputs;
  if (pixels == 0) return;
  const std::int64_t columns = shape.inputs * shape.kernel * shape.kernel;
  dim3 grid(blocks_for(shape.outputs, kSide).x, blocks_for(columns, kSide).x);
  const std::int64_t most = std::max<std::int64_t>(1, kMostTiles / (std::int64_t{grid.x} * grid.y));
  const std::int64_t wanted = std::min(most, ceil_div(pixels, kLeastPixels));
  const std::int64_t length = ceil_div(ceil_div(pixels, wanted), kSide) * kSide;
  const std::int64_t pieces = ceil_div(pixels, length);
  grid.z = static_cast<unsigned>(pieces);
  auto* const partials = static_cast<float*>(queue.scratch(pieces * dw.bytes()));
  with_vectors(x.dtype, std::gcd(shape.inputs, shape.outputs), {x.data, dy.data}, [&](auto vectors) {
    using T = typename decltype(vectors)::T;
    launch(grid, kThreads, 0, queue.stream(), weight_kernel<T, decltype(vectors)::N>, window_of(shape, false), pixels,
           length, static_cast<int>(shape.outputs), numbers<T>(x), numbers<T>(dy), partials);
  });
  launch(blocks_for(dw.size, kThreads), kThreads, 0, queue.stream(), add_pieces_kernel, pieces, dw.size, shape.inputs,
         shape.kernel * shape.kernel, static_cast<const float*>(partials), numbers<float>(dw));
}

}  // namespace ballast::cuda
