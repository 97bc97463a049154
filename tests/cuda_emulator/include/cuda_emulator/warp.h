// The warp intrinsics: shuffles, votes, reductions, __syncwarp.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cuda_emulator/execution.h"

namespace cuda_emulator {

template <class T, class SourceOf>
T shuffle(std::uint32_t mask, T value, Site site, SourceOf source_of) {
  static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
  const WarpExchange exchange(WarpOperation::kShuffle, mask, value, site);
  return exchange.from<T>(source_of(exchange.lane()));
}

inline unsigned ballot(WarpOperation operation, std::uint32_t mask, int predicate, Site site) {
  const WarpExchange exchange(operation, mask, predicate, site);
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if ((exchange.arrived() >> lane & 1u) && exchange.from<int>(lane) != 0) votes |= 1u << lane;
  }
  return votes;
}

template <class T, class Combine>
T reduce(std::uint32_t mask, T value, Site site, Combine combine) {
  static_assert(std::is_integral_v<T> && sizeof(T) == 4, "__reduce_*_sync knows 32-bit integers only");
  const WarpExchange exchange(WarpOperation::kReduce, mask, value, site);
  T result = value;
  for (int lane = 0; lane < 32; ++lane) {
    if ((exchange.arrived() >> lane & 1u) && lane != exchange.lane()) result = combine(result, exchange.from<T>(lane));
  }
  return result;
}

/// A shuffle within sections of `width` lanes: the first lane of the section that `lane` is in.
inline int section(int lane, int width) { return lane & ~(width - 1); }

}  // namespace cuda_emulator

#define CUDA_EMULATOR_SITE cuda_emulator::Site site = cuda_emulator::Site::current()

inline void __syncwarp(unsigned mask = 0xffffffffu, CUDA_EMULATOR_SITE) {
  cuda_emulator::ballot(cuda_emulator::WarpOperation::kSync, mask, 0, site);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, CUDA_EMULATOR_SITE) {
  return cuda_emulator::shuffle(mask, value, site,
                                [=](int lane) { return cuda_emulator::section(lane, width) + (source & (width - 1)); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, CUDA_EMULATOR_SITE) {
  return cuda_emulator::shuffle(mask, value, site, [=](int lane) {
    const int source = lane ^ lanes;
    return cuda_emulator::section(source, width) > cuda_emulator::section(lane, width) ? lane : source;
  });
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATOR_SITE) {
  return cuda_emulator::shuffle(mask, value, site, [=](int lane) {
    const int source = lane + static_cast<int>(delta);
    return cuda_emulator::section(source, width) == cuda_emulator::section(lane, width) ? source : lane;
  });
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CUDA_EMULATOR_SITE) {
  return cuda_emulator::shuffle(mask, value, site, [=](int lane) {
    const int source = lane - static_cast<int>(delta);
    return source >= cuda_emulator::section(lane, width) ? source : lane;
  });
}

inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_EMULATOR_SITE) {
  return cuda_emulator::ballot(cuda_emulator::WarpOperation::kVote, mask, predicate, site);
}
inline int __any_sync(unsigned mask, int predicate, CUDA_EMULATOR_SITE) {
  return __ballot_sync(mask, predicate, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDA_EMULATOR_SITE) {
  return __ballot_sync(mask, predicate == 0, site) == 0;
}

template <class T>
T __reduce_add_sync(unsigned mask, T value, CUDA_EMULATOR_SITE) {
  return cuda_emulator::reduce(mask, value, site, [](T a, T b) { return static_cast<T>(a + b); });
}
template <class T>
T __reduce_min_sync(unsigned mask, T value, CUDA_EMULATOR_SITE) {
  return cuda_emulator::reduce(mask, value, site, [](T a, T b) { return std::min(a, b); });
}
template <class T>
T __reduce_max_sync(unsigned mask, T value, CUDA_EMULATOR_SITE) {
  return cuda_emulator::reduce(mask, value, site, [](T a, T b) { return std::max(a, b); });
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, CUDA_EMULATOR_SITE) {
  return cuda_emulator::reduce(mask, value, site, [](unsigned a, unsigned b) { return a & b; });
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, CUDA_EMULATOR_SITE) {
  return cuda_emulator::reduce(mask, value, site, [](unsigned a, unsigned b) { return a | b; });
}
