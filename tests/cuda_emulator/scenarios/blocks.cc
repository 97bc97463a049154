// Threads of one block: barriers, shared memory, warp operations. The right kernel stands above those with a planted
// bug.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "scenario.h"

namespace cuda_emulator::scenarios {
namespace {

using ballast::cuda::block_shared;
using ballast::cuda::copy_async_16;
using ballast::cuda::copy_async_commit;
using ballast::cuda::copy_async_wait;
using ballast::cuda::dynamic_shared;

constexpr unsigned kFull = 0xffffffffu;
constexpr unsigned kThreads = 128, kBlocks = 4, kElements = kThreads * kBlocks;

std::vector<float> ramp(std::size_t size) {
  std::vector<float> values(size);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

struct PartialSums {
  float of_warp[32];
};

template <unsigned kMask>
float warp_sum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(kMask, value, distance);
  return value;
}

// Every thread gets the sum over the block. `kFirst`, `kLast`: with the barrier between write and read, and with the
// one before the next call's write.
template <bool kFirst, bool kLast>
float block_sum(float value) {
  auto& shared = block_shared<PartialSums>();
  const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  value = warp_sum<kFull>(value);
  if (lane == 0) shared.of_warp[warp] = value;
  if constexpr (kFirst) __syncthreads();
  value = warp_sum<kFull>(lane < warps ? shared.of_warp[lane] : 0.0f);
  if constexpr (kLast) __syncthreads();
  return value;
}

// y = sum of the block's x, and their squares' sum, added up: two sums in a row, as in a norm.
template <bool kFirst, bool kLast>
__global__ void __launch_bounds__(kThreads) sums_of_blocks(const float* x, float* y) {
  const float value = x[blockIdx.x * blockDim.x + threadIdx.x];
  const float sum = block_sum<kFirst, kLast>(value);
  const float squares = block_sum<kFirst, kLast>(value * value);
  y[blockIdx.x * blockDim.x + threadIdx.x] = sum + squares;
}

bool sums_are_right(void (*kernel)(const float*, float*)) {
  const std::vector<float> x = ramp(kElements);
  const DeviceArray<float> device_x(x), device_y(kElements);
  launch(kBlocks, kThreads, 0, nullptr, kernel, device_x.data(), device_y.data());
  const std::vector<float> y = device_y.values();
  for (unsigned block = 0; block < kBlocks; ++block) {
    double expected = 0;
    for (unsigned t = 0; t < kThreads; ++t) expected += x[block * kThreads + t] * (1.0 + x[block * kThreads + t]);
    for (unsigned t = 0; t < kThreads; ++t) {
      if (!(std::abs(y[block * kThreads + t] - expected) <= 1e-6 * expected)) return false;
    }
  }
  return true;
}

template <unsigned kMask>
__global__ void __launch_bounds__(32) sum_of_warp(const float* x, float* y) {
  y[threadIdx.x] = warp_sum<kMask>(x[threadIdx.x]);
}

// Only the even lanes come to the shuffle that names all; the odd ones go on, and exit.
__global__ void __launch_bounds__(32) shuffle_in_branch(const float* x, float* y) {
  float value = x[threadIdx.x];
  if (threadIdx.x % 2 == 0) value += __shfl_xor_sync(kFull, value, 1);
  y[threadIdx.x] = value;
}

bool warp_sum_is_right(void (*kernel)(const float*, float*)) {
  const DeviceArray<float> x(ramp(32)), y(32);
  launch(1, 32, 0, nullptr, kernel, x.data(), y.data());
  return y.values() == std::vector<float>(32, 528.0f);
}

template <bool kOneBarrier>
__global__ void __launch_bounds__(64) reverse(float* x) {
  auto* shared = dynamic_shared<float>();
  shared[threadIdx.x] = x[threadIdx.x];
  if constexpr (kOneBarrier) {
    __syncthreads();
  } else if (threadIdx.x < 32) {
    __syncthreads();  // the warps wait at different places
  } else {
    __syncthreads();
  }
  x[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

// The shuffle's mask names a lane that waits at the barrier, where it waits for the others.
__global__ void __launch_bounds__(64) reverse_with_waiting_lane(float* x) {
  auto* shared = dynamic_shared<float>();
  shared[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x != 0) __shfl_xor_sync(kFull, 0, 1);
  __syncthreads();
  x[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

bool reverse_is_right(void (*kernel)(float*), std::size_t shared_elements = 64) {
  std::vector<float> expected = ramp(64);
  const DeviceArray<float> x(expected);
  std::swap_ranges(expected.begin(), expected.begin() + 32, expected.rbegin());
  launch(1, 64, shared_elements * sizeof(float), nullptr, kernel, x.data());
  return x.values() == expected;
}

struct Tile {
  float row[33];
};

// Thread t adds elements t and t+1 of the tile; nobody writes the last one unless `kPadded`.
template <bool kPadded>
__global__ void __launch_bounds__(32) add_neighbours(const float* x, float* y) {
  auto& tile = block_shared<Tile>();
  tile.row[threadIdx.x] = x[threadIdx.x];
  if (kPadded && threadIdx.x == 0) tile.row[32] = 0.0f;
  __syncthreads();
  y[threadIdx.x] = tile.row[threadIdx.x] + tile.row[threadIdx.x + 1];
}

bool neighbours_are_right(void (*kernel)(const float*, float*)) {
  const DeviceArray<float> x(ramp(32)), y(32);
  launch(1, 32, 0, nullptr, kernel, x.data(), y.data());
  const std::vector<float> result = y.values();
  for (unsigned i = 0; i < 31; ++i) {
    if (result[i] != 2.0f * static_cast<float>(i) + 3.0f) return false;
  }
  return result[31] == 32.0f;
}

// Shared memory of fixed size beside what the launch gives.
__global__ void __launch_bounds__(32) reverse_and_double(const float* x, float* y) {
  auto& fixed = block_shared<Tile>();
  auto* given = dynamic_shared<float>();
  fixed.row[threadIdx.x] = given[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = fixed.row[31 - threadIdx.x] + given[31 - threadIdx.x];
}

bool doubles_are_right(std::size_t given_bytes) {
  const DeviceArray<float> x(ramp(32)), y(32);
  launch(1, 32, given_bytes, nullptr, reverse_and_double, x.data(), y.data());
  const std::vector<float> result = y.values();
  for (unsigned i = 0; i < 32; ++i) {
    if (result[i] != 2.0f * static_cast<float>(32 - i)) return false;
  }
  return true;
}

// Two groups of asynchronous copies; `kUnfinished` groups may be under way when the data is read.
template <int kUnfinished>
__global__ void __launch_bounds__(32) copy_through_shared(const float4* x, float4* y) {
  auto* shared = dynamic_shared<float4>();
  for (unsigned group = 0; group < 2; ++group) {
    copy_async_16(&shared[32 * group + threadIdx.x], &x[32 * group + threadIdx.x]);
    copy_async_commit();
  }
  copy_async_wait<kUnfinished>();
  __syncthreads();
  for (unsigned i = threadIdx.x; i < 64; i += 32) y[i] = shared[63 - i];
}

bool copies_are_right(void (*kernel)(const float4*, float4*)) {
  const DeviceArray<float> x(ramp(256)), y(256);
  launch(1, 32, 64 * sizeof(float4), nullptr, kernel, reinterpret_cast<const float4*>(x.data()),
         reinterpret_cast<float4*>(y.data()));
  const std::vector<float> result = y.values();
  for (unsigned i = 0; i < 256; ++i) {
    if (result[i] != static_cast<float>((63 - i / 4) * 4 + i % 4 + 1)) return false;
  }
  return true;
}

}  // namespace

std::vector<Scenario> block_scenarios() {
  return {
      {"block_sums", [] { return sums_are_right(sums_of_blocks<true, true>); }},
      {"missing_barrier_before_read", [] { return sums_are_right(sums_of_blocks<false, true>); }},
      {"missing_barrier_before_next_write", [] { return sums_are_right(sums_of_blocks<true, false>); }},
      {"warp_sum", [] { return warp_sum_is_right(sum_of_warp<kFull>); }},
      {"wrong_shuffle_mask", [] { return warp_sum_is_right(sum_of_warp<0x0000ffffu>); }},
      {"shuffle_in_branch", [] { return warp_sum_is_right(shuffle_in_branch); }},
      {"reverse", [] { return reverse_is_right(reverse<true>); }},
      {"divergent_barrier", [] { return reverse_is_right(reverse<false>); }},
      {"deadlock", [] { return reverse_is_right(reverse_with_waiting_lane); }},
      {"write_past_shared_memory", [] { return reverse_is_right(reverse<true>, 60); }},
      {"add_neighbours", [] { return neighbours_are_right(add_neighbours<true>); }},
      {"unwritten_shared_memory", [] { return neighbours_are_right(add_neighbours<false>); }},
      {"both_kinds_of_shared_memory", [] { return doubles_are_right(32 * sizeof(float)); }},
      {"too_much_shared_memory", [] { return doubles_are_right(48 << 10); }},
      {"asynchronous_copies", [] { return copies_are_right(copy_through_shared<0>); }},
      {"asynchronous_copies_not_waited_for", [] { return copies_are_right(copy_through_shared<1>); }},
  };
}

}  // namespace cuda_emulator::scenarios
