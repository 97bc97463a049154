// Defines: Queue: the compute stream of one device and what its operations need.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "compute/cuda/copies.h"
#include "compute/cuda/graph_chains.h"
#include "compute/cuda/handles.h"
#include "compute/tensor.h"

namespace ballast::cuda {

/// Operations are queued in the order of the calls and run behind them. Used by one thread at a time.
class Queue {
 public:
  explicit Queue(int device);

  /// For the work of operations: kernels, and copies and clearing of device memory. Within together() it is captured.
  [[nodiscard]] cudaStream_t stream();
  /// For everything else, as are events and the host's own copies: launches what is captured. Ask for each use.
  [[nodiscard]] cudaStream_t uncaptured_stream();
  [[nodiscard]] int processors() const { return processors_; }  ///< multiprocessors of the device
  [[nodiscard]] int device() const { return device_; }

  /// Names the operation that is queued next and the memory that it writes: it will wait for the downloads that still
  /// read there. Every operation begins with it.
  Queue& begin(const char* operation, std::initializer_list<DeviceSpan> written = {});

  /// See Backend.
  void together(std::uint64_t key, const std::function<void()>& operations);

  /// Device memory for the kernels of one operation, aligned to 256 bytes. The next call may return the same memory:
  /// the order of the stream keeps the operations apart.
  void* scratch(std::int64_t bytes);

  /// Copies host bytes to the device in stream order; `host` may change once this returns.
  void upload(std::span<const std::byte> host, void* device) { uploads_.copy(host, device, uncaptured_stream()); }

  /// Copies to the host behind the work queued so far and beside the work queued later. Complete after synchronize().
  void download(const void* device, std::span<std::byte> host);

  /// Copies device bytes to the host behind the work queued so far and calls `use` with them in synchronize(). The
  /// device bytes may be overwritten by later operations.
  void return_later(const void* device, std::size_t bytes, std::function<void(const std::byte*)> use);

  /// Waits for all work and copies, then calls the `use`s in order. Errors of the work come out as Error and name the
  /// operations since the last call; of what the `use`s throw, the first comes out when all have run.
  void synchronize();

 private:
  struct Returned {
    const std::byte* bytes;
    std::function<void(const std::byte*)> use;
  };

  /// `error`, with the names of the recent operations.
  [[nodiscard]] Error named(const Error& error) const;
  void use_returned();

  int device_;
  int processors_ = 0;
  Stream stream_;
  GraphChains graphs_;
  DeviceMemory scratch_;
  std::int64_t scratch_bytes_ = 0;
  Uploads uploads_;
  Downloads downloads_;
  ReturnArea return_area_;
  std::vector<Returned> returned_;
  std::vector<const char*> operations_;  ///< since the last synchronize(), the last few
};

}  // namespace ballast::cuda
