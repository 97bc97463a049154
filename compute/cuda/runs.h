// Defines: load_run, store_run, all_aligned: the few neighbouring elements that a thread handles at once, as f32.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "compute/cuda/prelude.h"

namespace ballast::cuda {

namespace elements {

__device__ __forceinline__ void widen(std::uint32_t word, float* x) {
  const float2 two = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(&word));
  x[0] = two.x;
  x[1] = two.y;
}

__device__ __forceinline__ std::uint32_t narrow(const float* x) {
  const __nv_bfloat162 two = __floats2bfloat162_rn(x[0], x[1]);
  return *reinterpret_cast<const std::uint32_t*>(&two);
}

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(Bf16 x) { return __bfloat162float(x); }
__device__ __forceinline__ void assign(float& to, float x) { to = x; }
__device__ __forceinline__ void assign(Bf16& to, float x) { to = __float2bfloat16_rn(x); }

template <int kSize>
__device__ __forceinline__ void load_whole(const float* from, float (&x)[kSize]) {
#pragma unroll
  for (int i = 0; i < kSize; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(from + i);
    x[i] = four.x;
    x[i + 1] = four.y;
    x[i + 2] = four.z;
    x[i + 3] = four.w;
  }
}

__device__ __forceinline__ void load_whole(const Bf16* from, float (&x)[8]) {
  const uint4 words = *reinterpret_cast<const uint4*>(from);
  widen(words.x, x);
  widen(words.y, x + 2);
  widen(words.z, x + 4);
  widen(words.w, x + 6);
}

template <int kSize>
__device__ __forceinline__ void store_whole(const float (&x)[kSize], float* to) {
#pragma unroll
  for (int i = 0; i < kSize; i += 4) {
    *reinterpret_cast<float4*>(to + i) = make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
  }
}

__device__ __forceinline__ void store_whole(const float (&x)[8], Bf16* to) {
  *reinterpret_cast<uint4*>(to) = make_uint4(narrow(x), narrow(x + 2), narrow(x + 4), narrow(x + 6));
}

__device__ __forceinline__ void store_whole(const float (&x)[4], Bf16* to) {
  *reinterpret_cast<uint2*>(to) = make_uint2(narrow(x), narrow(x + 2));
}

}  // namespace elements

/// x = the first `count` elements at `from`, and zeros behind them. With `aligned` a whole run is loaded 16 bytes at a
/// time.
template <int kSize, class T>
__device__ __forceinline__ void load_run(const T* from, std::int64_t count, bool aligned, float (&x)[kSize]) {
  if (aligned && count >= kSize) return elements::load_whole(from, x);
#pragma unroll
  for (int i = 0; i < kSize; ++i) x[i] = i < count ? elements::to_float(from[i]) : 0.0F;
}

/// The reverse.
template <int kSize, class T>
__device__ __forceinline__ void store_run(const float (&x)[kSize], std::int64_t count, bool aligned, T* to) {
  if (aligned && count >= kSize) return elements::store_whole(x, to);
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    if (i < count) elements::assign(to[i], x[i]);
  }
}

/// Whether 16 bytes can be loaded at once from each.
[[nodiscard]] inline bool all_aligned(std::initializer_list<const void*> addresses) {
  std::uintptr_t bits = 0;
  for (const void* address : addresses) bits |= reinterpret_cast<std::uintptr_t>(address);
  return bits % 16 == 0;
}

}  // namespace ballast::cuda
