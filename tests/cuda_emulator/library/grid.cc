#include "grid.h"

#include <numeric>

#include "cuda_runtime.h"
#include "random.h"

namespace cuda_emulator {

void run_grid(dim3 grid, dim3 block, std::size_t dynamic_bytes, const std::function<void()>& kernel,
              FiberPool& fibers) {
  gridDim = grid;
  blockDim = block;
  Block runner(block, dynamic_bytes, kernel, fibers);
  const std::uint64_t plane = std::uint64_t{grid.x} * grid.y, blocks = plane * grid.z;
  std::uint64_t step = 1;  // a random walk that visits every block: the step is coprime with their number
  do {
    step = 1 + random_below(blocks);
  } while (std::gcd(step, blocks) != 1);
  std::uint64_t next = random_below(blocks);
  for (std::uint64_t i = 0; i < blocks; ++i, next = (next + step) % blocks) {
    blockIdx = {static_cast<unsigned>(next % grid.x), static_cast<unsigned>(next % plane / grid.x),
                static_cast<unsigned>(next / plane)};
    runner.run();
  }
}

}  // namespace cuda_emulator
