#include "fiber.h"

#include <sys/mman.h>

#include "cuda_emulator/execution.h"

namespace cuda_emulator {
namespace {

namespace context = boost::context::detail;

constexpr std::size_t kPage = 4096, kStackBytes = 256 * 1024;

// The side that resumed: one at a time, under the lock of the streams.
context::fcontext_t resumer = nullptr;
Fiber* running = nullptr;
void* resumer_fake_stack = nullptr;
const void* resumer_bottom = nullptr;
std::size_t resumer_bytes = 0;

char* allocate_stack() {
  void* memory =
      mmap(nullptr, kStackBytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) fail("no memory for the stack of another thread");
  mprotect(memory, kPage, PROT_NONE);  // an overflow faults
  return static_cast<char*>(memory) + kPage;
}

}  // namespace

Fiber::Fiber(Work work) : work_(work), stack_(allocate_stack()) {
  static unsigned colour = 0;  // stagger the stacks, or their hot lines fall into the same sets of the caches
  const std::size_t offset = colour++ % 61 * 192;
  context_ = context::make_fcontext(stack_ + kStackBytes - offset, kStackBytes - offset, main);
}

void Fiber::resume() {
  running = this;
  if (under_asan()) __sanitizer_start_switch_fiber(&resumer_fake_stack, stack_, kStackBytes);
  const context::transfer_t from = context::jump_fcontext(context_, this);
  if (under_asan()) __sanitizer_finish_switch_fiber(resumer_fake_stack, nullptr, nullptr);
  context_ = from.fctx;
}

void Fiber::arrived(context::transfer_t from) {
  resumer = from.fctx;
  if (under_asan()) __sanitizer_finish_switch_fiber(fake_stack_, &resumer_bottom, &resumer_bytes);
}

void Fiber::leave() {
  if (under_asan()) __sanitizer_start_switch_fiber(&fake_stack_, resumer_bottom, resumer_bytes);
  arrived(context::jump_fcontext(resumer, nullptr));
}

void Fiber::suspend() { running->leave(); }

void Fiber::main(context::transfer_t from) {
  Fiber& self = *static_cast<Fiber*>(from.data);
  self.arrived(from);
  while (true) {
    self.work_(self);
    self.leave();
  }
}

}  // namespace cuda_emulator
