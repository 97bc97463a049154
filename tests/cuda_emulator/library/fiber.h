// Stacks that a scheduler switches to and back from.
#pragma once

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>

#include "sanitizers.h"

namespace cuda_emulator {

/// Runs `work` again and again; every return of `work`, and every suspend() inside it, goes back to who called
/// resume(). The public boost::context::fiber would unwind its stack with an exception at its end; fibers here live as
/// long as the process.
class Fiber {
 public:
  using Work = void (*)(Fiber& self);

  explicit Fiber(Work work);

  void resume();
  static void suspend();

  TsanFiber tsan;  // the logical thread of whatever runs on this stack

 private:
  static void main(boost::context::detail::transfer_t from);
  void leave();
  void arrived(boost::context::detail::transfer_t from);

  Work work_;
  char* stack_;
  boost::context::detail::fcontext_t context_;
  void* fake_stack_ = nullptr;  // ASan's
};

}  // namespace cuda_emulator
