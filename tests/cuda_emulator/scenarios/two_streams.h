// What scenarios of streams and graphs share: two streams, two events, two kernels.
#pragma once

#include "scenario.h"

namespace cuda_emulator::scenarios {

inline constexpr unsigned kElements = 64;
inline constexpr int kRounds = 12;

inline __global__ void __launch_bounds__(kElements) fill(float* x, float value) { x[threadIdx.x] = value; }
inline __global__ void __launch_bounds__(kElements) add(const float* x, float* y) { y[threadIdx.x] += x[threadIdx.x]; }

struct Streams {
  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t written = nullptr, read = nullptr;
  Streams() {
    for (cudaStream_t* stream : {&first, &second}) check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
    for (cudaEvent_t* event : {&written, &read}) check(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
  }
};

inline bool all_equal(const std::vector<float>& values, float expected) {
  return values == std::vector<float>(values.size(), expected);
}

inline float* pinned_array() {
  float* pinned = nullptr;
  check(cudaMallocHost(&pinned, kElements * sizeof(float)));
  return pinned;
}

}  // namespace cuda_emulator::scenarios
