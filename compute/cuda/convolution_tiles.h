// Defines: Window, PixelPlace, ProductTile: what the products of a convolution are made of.
//
// A block of 128 threads makes 64 x 64 of a product in steps of 64 bytes of depth (32 bf16, 16 f32), in two stages: one
// is copied while the other is multiplied.
#pragma once

#include <cstdint>

#include "compute/backend.h"
#include "compute/cuda/tensor_tiles.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

constexpr int kSide = 64;  ///< rows, and columns, of a tile
constexpr int kThreads = 128;

template <class T>
inline constexpr int kDepth = 64 / sizeof(T);
template <class T>
inline constexpr int kPad = 16 / sizeof(T);  ///< keeps the rows of a matrix on different banks

/// Where the pixels that a pixel meets through the kernel begin.
struct PixelPlace {
  std::int64_t image;  ///< first element of its sample in the image that is read
  int y, x;
};

/// The image that is read, through the kernel: by forward (and by the gradient of the weights) x from y's pixels, by
/// `Data`, the gradient of the data, dy from x's pixels.
struct Window {
  int rows, columns, channels;  ///< of the image that is read
  int result_rows, result_columns;
  int kernel, stride, pad;

  template <bool Data>
  __device__ PixelPlace place_of(std::int64_t pixel) const {
    const int x = static_cast<int>(pixel % result_columns);
    const int y = static_cast<int>(pixel / result_columns % result_rows);
    const std::int64_t sample = pixel / result_columns / result_rows;
    const std::int64_t image = sample * rows * columns * channels;
    if (Data) return {image, y + pad, x + pad};
    return {image, y * stride - pad, x * stride - pad};
  }

  /// Of the element that stands in column `k` = tap * channels + channel; -1 where the kernel hangs over the edge.
  template <bool Data>
  __device__ std::int64_t element(const PixelPlace& place, int k) const {
    const int tap = k / channels;
    int y = place.y + (Data ? -(tap / kernel) : tap / kernel);
    int x = place.x + (Data ? -(tap % kernel) : tap % kernel);
    if (y < 0 || x < 0) return -1;
    if (Data) {
      if (y % stride != 0 || x % stride != 0) return -1;
      y /= stride;
      x /= stride;
    }
    if (y >= rows || x >= columns) return -1;
    return place.image + (static_cast<std::int64_t>(y) * columns + x) * channels + k % channels;
  }
};

/// Starts copying N elements to shared memory, or writes zeros where `from` is null.
template <int N, class T>
__device__ inline void copy_elements(const T* from, T* to) {
  if constexpr (N == 1) {
    *to = from != nullptr ? *from : static_cast<T>(0.0F);
  } else if (from != nullptr) {
    copy_async_16(to, from);
  } else {
    *reinterpret_cast<uint4*>(to) = uint4{0, 0, 0, 0};
  }
}

/// 64 x 64 sums. Tiles of factors are [64][kDepth + kPad] for add_rows(), whose rows are what is multiplied, and
/// [kDepth][64 + kPad] for add_columns().
template <class T>
class ProductTile;

/// On FMA units: thread (y, x) of 8 x 16 has rows 8 y + i and columns x + 16 j.
template <>
class ProductTile<float> {
 public:
  __device__ void add_rows(const float* a, const float* b) {
    constexpr int kStride = kDepth<float> + kPad<float>;
    for (int k = 0; k < kDepth<float>; k += 4) {
      float4 right[4];
      for (int j = 0; j < 4; ++j) right[j] = *reinterpret_cast<const float4*>(b + column(j) * kStride + k);
      for (int i = 0; i < 8; ++i) {
        const float4 left = *reinterpret_cast<const float4*>(a + row(i) * kStride + k);
        for (int j = 0; j < 4; ++j) {
          sums_[i][j] += left.x * right[j].x + left.y * right[j].y + left.z * right[j].z + left.w * right[j].w;
        }
      }
    }
  }

  __device__ void add_columns(const float* a, const float* b) {
    constexpr int kStride = kSide + kPad<float>;
    for (int k = 0; k < kDepth<float>; ++k) {
      float left[8];
      for (int i = 0; i < 8; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(a + k * kStride + row(i));
        left[i] = four.x;
        left[i + 1] = four.y;
        left[i + 2] = four.z;
        left[i + 3] = four.w;
      }
      for (int j = 0; j < 4; ++j) {
        const float right = b[k * kStride + column(j)];
        for (int i = 0; i < 8; ++i) sums_[i][j] += left[i] * right;
      }
    }
  }

  __device__ void write(float (*to)[kSide + 4]) const {
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 4; ++j) to[row(i)][column(j)] = sums_[i][j];
  }

 private:
  __device__ static int row(int i) { return static_cast<int>(threadIdx.x) / 16 * 8 + i; }
  __device__ static int column(int j) { return static_cast<int>(threadIdx.x) % 16 + 16 * j; }

  float sums_[8][4] = {};
};

/// On tensor cores: a warp has 16 rows.
template <>
class ProductTile<Bf16> {
 public:
  __device__ void add_rows(const Bf16* a, const Bf16* b) {
    multiply_rows<kSide, kDepth<Bf16>>(a + first_row() * (kDepth<Bf16> + kPad<Bf16>), b, sums_);
  }

  __device__ void add_columns(const Bf16* a, const Bf16* b) {
    constexpr int kStride = kSide + kPad<Bf16>;
    const int lane = threadIdx.x % kWarp;
    const Bf16* a_column = a + (lane / 16 * 8 + lane % 8) * kStride + first_row() + lane / 8 % 2 * 8;
    const Bf16* b_row = b + lane % 16 * kStride + lane / 16 * 8;
    for (int k = 0; k < kDepth<Bf16>; k += 16) {
      std::uint32_t of_a[4];
      load_matrix_x4_transposed(of_a, a_column + k * kStride);
      for (int n = 0; n < kSide; n += 16) {
        std::uint32_t of_b[4];
        load_matrix_x4_transposed(of_b, b_row + k * kStride + n);
        mma_m16n8k16(sums_[n / 8], of_a, {of_b[0], of_b[1]});
        mma_m16n8k16(sums_[n / 8 + 1], of_a, {of_b[2], of_b[3]});
      }
    }
  }

  __device__ void write(float (*to)[kSide + 4]) const {
    const int lane = threadIdx.x % kWarp;
    for (int n = 0; n < kSide / 8; ++n)
      for (int i = 0; i < 4; ++i) to[first_row() + lane / 4 + i / 2 * 8][n * 8 + lane % 4 * 2 + i % 2] = sums_[n][i];
  }

 private:
  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / kWarp * 16; }

  float sums_[kSide / 8][4] = {};
};

}  // namespace ballast::cuda
