// Defines: check_indices.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "compute/cuda/queue.h"
#include "compute/tensor.h"

namespace ballast::cuda {

/// Looks, in stream order, for the first of `indices` (i32) outside [least, limit). Where there is one, synchronize()
/// throws DataError(text(index)). Until then kernels must bear it. Uses the queue's scratch.
void check_indices(Queue& queue, ConstDeviceSpan indices, std::int32_t least, std::int64_t limit,
                   std::function<std::string(std::int32_t)> text);

}  // namespace ballast::cuda
