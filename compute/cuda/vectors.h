// Defines: load_vector, store_vector, Vectors, with_vectors, warp_sum, warp_largest.
//
// What the kernels of layers share: elements are read N at a time, 16 bytes or one element, and reduced over a warp.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "compute/cuda/prelude.h"
#include "compute/cuda/runs.h"
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

/// N elements as f32: one, or 16 bytes, to which `from` must then be aligned.
template <class T, int N>
__device__ inline void load_vector(const T* from, float (&to)[N]) {
  if constexpr (N == 1) {
    to[0] = elements::to_float(*from);
  } else {
    elements::load_whole(from, to);
  }
}

template <class T, int N>
__device__ inline void store_vector(const float (&from)[N], T* to) {
  if constexpr (N == 1) {
    elements::assign(*to, from[0]);
  } else {
    elements::store_whole(from, to);
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
  const bool vectors = all_aligned(addresses) && columns % (16 / size_of(dtype)) == 0;
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
