// The one way an error ends: a line that says where, and exit code 86.
#include <unistd.h>

#include <cstdarg>
#include <cstdio>

#include "block.h"
#include "cuda_emulator/execution.h"
#include "cuda_runtime.h"

namespace cuda_emulator {
namespace {

constexpr int kExitCode = 86;
const char* current_work = "host code";

}  // namespace

void set_current_work(const char* what) { current_work = what; }

void fail(const char* format, ...) {
  std::fprintf(stderr, "cuda_emulator: %s", current_work);
  Block* block = current_block();
  if (block != nullptr && block->running() >= 0) {
    const uint3 thread = block->thread().index;
    std::fprintf(stderr, ", block (%u,%u,%u), thread (%u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z, thread.x,
                 thread.y, thread.z);
  }
  std::fputs(": ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::fflush(nullptr);
  _exit(kExitCode);
}

}  // namespace cuda_emulator
