// Defines: Cudnn: convolutions through cuDNN, where the plugin was built with it.
#pragma once

#include <memory>
#include <string>

#include "compute/backend.h"
#include "compute/cuda/queue.h"

namespace ballast::cuda {

/// Images and their gradients. Gradients of weights are our own everywhere: cuDNN's would be rounded to bf16 before
/// they could be added in f32.
///
/// The algorithms are fixed, and add up in one order; f32 is never rounded to TF32. So the bits depend on the
/// arguments, the device and cuDNN's version only.
class Cudnn {
 public:
  Cudnn();
  ~Cudnn();
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;

  [[nodiscard]] std::string version() const;  ///< ", cuDNN 9.19.0", or nothing

  /// Backend's. Return false, having queued nothing, where cuDNN is not there or has no algorithm, or where memory is
  /// not aligned to 16 bytes.
  [[nodiscard]] bool conv2d(Queue& queue, const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, DeviceSpan y);
  [[nodiscard]] bool conv2d_backward_data(Queue& queue, const ConvShape& shape, ConstDeviceSpan dy, ConstDeviceSpan w,
                                          DeviceSpan dx);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ballast::cuda
