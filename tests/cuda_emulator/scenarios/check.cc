#include <cstdio>
#include <cstdlib>

#include "scenario.h"

namespace cuda_emulator::scenarios {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s\n", cudaGetErrorString(error));
  std::exit(2);
}

}  // namespace cuda_emulator::scenarios
