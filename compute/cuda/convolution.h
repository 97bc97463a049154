// Defines: check_convolution, pack_weights: what our own convolutions and cuDNN's share.
#pragma once

#include "compute/backend.h"
#include "compute/cuda/queue.h"

namespace ballast::cuda {

/// Throws Error unless sizes and types of images fit the shape; the type of w is not looked at.
void check_convolution(const ConvShape& shape, ConstDeviceSpan x, ConstDeviceSpan w, ConstDeviceSpan y);

/// w_OIKK -> packed_OKKI, in the type of w.
void pack_weights(Queue& queue, const ConvShape& shape, ConstDeviceSpan w, void* packed);

}  // namespace ballast::cuda
