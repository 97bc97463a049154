// Global memory: its bounds, its lifetime, who may touch it, and races between blocks.
#include <numeric>

#include "scenario.h"

namespace cuda_emulator::scenarios {
namespace {

constexpr unsigned kThreads = 64, kBlocks = 8, kElements = kThreads * kBlocks;

// y[i] = x[i] + 1 for i < n. `kReadEnd`, `kWriteEnd`: how far past n the bounds checks are wrong.
template <unsigned kReadEnd, unsigned kWriteEnd>
__global__ void __launch_bounds__(kThreads) add_one(const float* x, float* y, unsigned n) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const float value = i < n + kReadEnd ? x[i] : 0.0f;
  if (i < n + kWriteEnd) y[i] = value + 1.0f;
}

bool add_one_is_right(void (*kernel)(const float*, float*, unsigned)) {
  const DeviceArray<float> x(std::vector<float>(kElements, 2.0f)), y(kElements);
  launch(kBlocks + 1, kThreads, 0, nullptr, kernel, x.data(), y.data(), kElements);
  return y.values() == std::vector<float>(kElements, 3.0f);
}

bool reads_freed_memory() {
  const DeviceArray<float> y(kElements);
  float* freed = nullptr;
  check(cudaMalloc(&freed, kElements * sizeof(float)));
  check(cudaFree(freed));
  launch(kBlocks, kThreads, 0, nullptr, add_one<0, 0>, freed, y.data(), kElements);
  return y.values() == std::vector<float>(kElements, 1.0f);
}

struct Arguments {  // the launch does not see pointers in here
  const float* x;
  float* y;
};
__global__ void __launch_bounds__(kThreads) add_one_of(Arguments arguments) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  arguments.y[i] = arguments.x[i] + 1.0f;
}

bool reads_freed_memory_behind_a_structure() {
  const DeviceArray<float> y(kElements);
  float* freed = nullptr;
  check(cudaMalloc(&freed, kElements * sizeof(float)));
  check(cudaFree(freed));
  launch(kBlocks, kThreads, 0, nullptr, add_one_of, Arguments{freed, y.data()});
  return y.values() == std::vector<float>(kElements, 1.0f);
}

bool host_reads_device_memory() {
  const DeviceArray<float> x(std::vector<float>(kElements, 2.0f));
  check(cudaDeviceSynchronize());
  return *static_cast<volatile float*>(x.data() + 3) == 2.0f;
}

bool kernel_gets_host_memory() {
  std::vector<float> x(kElements, 2.0f);
  const DeviceArray<float> y(kElements);
  launch(kBlocks, kThreads, 0, nullptr, add_one<0, 0>, x.data(), y.data(), kElements);
  return y.values() == std::vector<float>(kElements, 3.0f);
}

bool copies_past_the_end() {
  const DeviceArray<float> x(kElements);
  const std::vector<float> values(kElements + 1);
  check(cudaMemcpy(x.data(), values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice));
  return true;
}

// Every thread counts; blocks must do it with an atomic.
template <bool kAtomic>
__global__ void __launch_bounds__(kThreads) count(unsigned* counter) {
  if constexpr (kAtomic) {
    atomicAdd(counter, 1u);
  } else if (threadIdx.x == 0) {
    *counter += kThreads;
  }
}

bool count_is_right(void (*kernel)(unsigned*)) {
  const DeviceArray<unsigned> counter(std::vector<unsigned>{0});
  launch(kBlocks, kThreads, 0, nullptr, kernel, counter.data());
  return counter.values()[0] == kElements;
}

// The block that draws the last ticket adds up what all blocks wrote: the others' writes must be behind a fence.
template <bool kFence>
__global__ void __launch_bounds__(32) sum_by_last_block(unsigned* parts, unsigned* ticket, unsigned* sum) {
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = blockIdx.x + 1;
  if constexpr (kFence) __threadfence();
  if (atomicAdd(ticket, 1u) + 1 != gridDim.x) return;
  if constexpr (kFence) __threadfence();
  for (unsigned block = 0; block < gridDim.x; ++block) *sum += parts[block];
}

bool last_block_is_right(void (*kernel)(unsigned*, unsigned*, unsigned*)) {
  const DeviceArray<unsigned> parts(kBlocks), ticket(std::vector<unsigned>{0}), sum(std::vector<unsigned>{0});
  launch(kBlocks, 32, 0, nullptr, kernel, parts.data(), ticket.data(), sum.data());
  return sum.values()[0] == kBlocks * (kBlocks + 1) / 2;
}

bool launch_is_too_large() {
  cudaLaunchConfig_t config{};
  config.gridDim = 1;
  config.blockDim = 2048;
  const DeviceArray<unsigned> counter(1);
  const bool refused = cudaLaunchKernelEx(&config, count<true>, counter.data()) == cudaErrorInvalidConfiguration;
  return refused && cudaGetLastError() == cudaErrorInvalidConfiguration && cudaGetLastError() == cudaSuccess;
}

bool there_is_no_device() {
  int count = -1;
  return cudaGetDeviceCount(&count) == cudaErrorNoDevice && count == 0 && cudaSetDevice(0) == cudaErrorNoDevice;
}

}  // namespace

std::vector<Scenario> memory_scenarios() {
  return {
      {"add_one", [] { return add_one_is_right(add_one<0, 0>); }},
      {"read_past_the_end", [] { return add_one_is_right(add_one<1, 0>); }},
      {"write_past_the_end", [] { return add_one_is_right(add_one<0, 1>); }},
      {"read_of_freed_memory", reads_freed_memory},
      {"read_of_freed_memory_behind_a_structure", reads_freed_memory_behind_a_structure},
      {"host_reads_device_memory", host_reads_device_memory},
      {"kernel_gets_host_memory", kernel_gets_host_memory},
      {"copy_past_the_end", copies_past_the_end},
      {"count", [] { return count_is_right(count<true>); }},
      {"race_between_blocks", [] { return count_is_right(count<false>); }},
      {"sum_by_last_block", [] { return last_block_is_right(sum_by_last_block<true>); }},
      {"missing_fence", [] { return last_block_is_right(sum_by_last_block<false>); }},
      {"refused_launch", launch_is_too_large},
      {"no_device", there_is_no_device},
  };
}

}  // namespace cuda_emulator::scenarios
