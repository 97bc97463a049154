// Small programs on the emulated device: some right, most with one planted bug. scenarios/main.cc runs one by its name,
// in a process of its own, because that is how an error ends.
#pragma once

#include <ballast_device.h>
#include <cuda_runtime.h>

#include <string>
#include <utility>
#include <vector>

namespace cuda_emulator::scenarios {

struct Scenario {
  std::string name;
  bool (*run)();  // true: the result is right
};

std::vector<Scenario> block_scenarios();   // blocks.cc: threads of one block
std::vector<Scenario> memory_scenarios();  // memory.cc: bounds, lifetimes, races between blocks
std::vector<Scenario> stream_scenarios();  // streams.cc: streams, events, pinned memory
std::vector<Scenario> graph_scenarios();   // graphs.cc: capture, updates and launches of graphs

/// Ends the process with the error's name unless the call succeeded.
void check(cudaError_t error);

template <class... Parameters, class... Arguments>
void launch(unsigned blocks, unsigned threads, std::size_t shared, cudaStream_t stream, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

/// `size` elements of device memory.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t size) : size_(size) { check(cudaMalloc(&data_, size * sizeof(T))); }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { check(cudaFree(data_)); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] std::vector<T> values() const {
    std::vector<T> values(size_);
    check(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

}  // namespace cuda_emulator::scenarios
