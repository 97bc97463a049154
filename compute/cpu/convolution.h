// Defines: Convolution: conv2d and its two gradients on all threads.
//
// Axes: B = samples, Y / X = rows / columns, I / O = inputs / outputs, K = kernel edge. Images are BYXC, weights OIKK.
#pragma once

#include <cstdint>

#include "compute/backend.h"
#include "compute/cpu/convolution_kernel.h"
#include "compute/cpu/primitive_cache.h"
#include "compute/cpu/thread_pool.h"

namespace ballast {

/// Cuts the batch into blocks of samples by shape alone; each is one execution of a oneDNN primitive on one thread, and
/// the blocks' gradients of the weights are added in index order. (oneDNN's own division of that sum depends on the
/// number of threads.) bf16 is widened to f32 on processors for which oneDNN has nothing fast. Called from one thread
/// at a time.
class Convolution {
 public:
  Convolution(ThreadPool& pool, WorkspacePool& workspaces) : pool_(pool), workspaces_(workspaces) {}

  void forward(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y);
  void backward_data(const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w, DeviceSpan dx);
  void backward_weights(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dw);

 private:
  /// The batch as `count` blocks of `samples`, except that the last may be shorter.
  struct Blocks {
    std::int64_t samples = 0, count = 0;
    ConvKernel whole, last;
    [[nodiscard]] const ConvKernel& at(std::int64_t block) const { return block + 1 < count ? whole : last; }
    [[nodiscard]] bool fast() const { return whole.fast && last.fast; }
  };
  [[nodiscard]] Blocks blocks_of(ConvPass pass, const ConvShape& shape, DType dtype);
  /// The first two passes. Either x or y is written.
  void run_samples(ConvPass pass, const Blocks& blocks, std::int64_t samples, ConstDeviceSpan x, ConstDeviceSpan w,
                   ConstDeviceSpan y);
  void run_weights(const Blocks& blocks, std::int64_t samples, ConstDeviceSpan x, ConstDeviceSpan dy, DeviceSpan dw);
  struct Widened {
    DeviceSpan a, b, out;
  };
  /// f32 copies of a and b, and room for a result.
  [[nodiscard]] Widened widen(ConstDeviceSpan a, ConstDeviceSpan b, std::int64_t out_size);

  ThreadPool& pool_;
  WorkspacePool& workspaces_;
  PrimitiveCache<ConvKey, ConvKernel> kernels_;
  AlignedMemory weights_;  ///< packed weights, or the blocks' gradients of the weights
  AlignedMemory widened_;
};

}  // namespace ballast
