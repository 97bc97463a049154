// Runs one kernel launch to its end.
#pragma once

#include <functional>

#include "block.h"

namespace cuda_emulator {

/// The blocks one after another in a random order. `fibers` belong to the stream: reuse then orders nothing across
/// streams.
void run_grid(dim3 grid, dim3 block, std::size_t dynamic_bytes, const std::function<void()>& kernel, FiberPool& fibers);

}  // namespace cuda_emulator
