// Defines: BatchNormShape, BatchNormGradients.
#pragma once

#include <cstdint>

#include "compute/tensor.h"

namespace ballast {

/// How many rows a batch norm has and what follows it: a skip is added before a relu.
struct BatchNormShape {
  std::int64_t rows = 0;
  bool relu = false;
  bool skip = false;  ///< only with relu
};

/// The tensors of batch_norm_backward. y is read only where there is a skip. dskip may be empty, and dx or dskip may be
/// the memory of dy.
struct BatchNormGradients {
  ConstDeviceSpan x, y, dy, gamma, beta, mean, inv_std;
  DeviceSpan dx, dskip, dgamma, dbeta;
};

}  // namespace ballast
