// Defines: add_parts.
#pragma once

#include "compute/cpu/thread_pool.h"
#include "compute/tensor.h"

namespace ballast {

/// total = (total +) part 0 + part 1 + ..., added in this order in one pass over memory. `parts` (f32) holds a whole
/// number of parts of total's size, one after the other.
void add_parts(ThreadPool& pool, ConstDeviceSpan parts, bool accumulate, DeviceSpan total);

}  // namespace ballast
