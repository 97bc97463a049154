// Defines: Bf16, widen, narrow, load_vector, store_vector, Vectors, with_vectors, warp_sum, warp_largest.
//
// What the kernels of layers share: elements are read N at a time, 16 bytes or one element, and reduced over a warp.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>

#include "compute/cuda/prelude.h"
#include "compute/tensor.h"

namespace ballast::cuda {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

template <class T>
const T* numbers(ConstDeviceSpan x) {
  return static_cast<const T*>(x.data);
}
template <class T>
T* numbers(DeviceSpan x) {
  return static_cast<T*>(x.data);
}

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(Bf16 x) { return __bfloat162float(x); }

template <class T>
__device__ T narrow(float x);
template <>
__device__ inline float narrow<float>(float x) {
  return x;
}
template <>
__device__ inline Bf16 narrow<Bf16>(float x) {
  return __float2bfloat16(x);
}

/// N elements as f32, in pieces of 16 bytes (`from` must be aligned to them) unless N is 1.
template <class T, int N>
__device__ inline void load_vector(const T* from, float (&to)[N]) {
  if constexpr (N == 1) {
    to[0] = widen(*from);
  } else {
    constexpr int kPiece = 16 / sizeof(T);
    for (int i = 0; i < N; i += kPiece) {
      const uint4 raw = *reinterpret_cast<const uint4*>(from + i);
      T piece[kPiece];
      std::memcpy(piece, &raw, sizeof raw);
      for (int j = 0; j < kPiece; ++j) to[i + j] = widen(piece[j]);
    }
  }
}

template <class T, int N>
__device__ inline void store_vector(const float (&from)[N], T* to) {
  if constexpr (N == 1) {
    *to = narrow<T>(from[0]);
  } else {
    constexpr int kPiece = 16 / sizeof(T);
    for (int i = 0; i < N; i += kPiece) {
      T piece[kPiece];
      for (int j = 0; j < kPiece; ++j) piece[j] = narrow<T>(from[i + j]);
      uint4 raw;
      std::memcpy(&raw, piece, sizeof raw);
      *reinterpret_cast<uint4*>(to + i) = raw;
    }
  }
}

/// The type of a kernel's activations and how many of them it takes at once.
template <class Element, int Count>
struct Vectors {
  using T = Element;
  static constexpr int N = Count;
};

/// Calls body(Vectors<T, N>()) with 16-byte vectors where rows of `columns` elements and all addresses allow them.
template <class Body>
void with_vectors(DType dtype, std::int64_t columns, std::initializer_list<const void*> addresses, const Body& body) {
  std::uintptr_t bits = 0;
  for (const void* address : addresses) bits |= reinterpret_cast<std::uintptr_t>(address);
  const bool vectors = bits % 16 == 0 && columns % (16 / size_of(dtype)) == 0;
  if (dtype == DType::kBF16) return vectors ? body(Vectors<Bf16, 8>()) : body(Vectors<Bf16, 1>());
  return vectors ? body(Vectors<float, 4>()) : body(Vectors<float, 1>());
}

/// Every lane gets the sum over the warp; one fixed order.
template <class Number>
__device__ inline Number warp_sum(Number x) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) x += __shfl_xor_sync(kFullWarp, x, apart);
  return x;
}

__device__ inline float warp_largest(float x) {
  for (int apart = kWarp / 2; apart > 0; apart /= 2) x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, apart));
  return x;
}

}  // namespace ballast::cuda
