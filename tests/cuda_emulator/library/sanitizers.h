// The sanitizers' doors for code that switches stacks. Weak symbols: one library, never instrumented itself, serves
// plain, ASan and TSan programs.
#pragma once

#include <cstddef>

extern "C" {
void* __tsan_get_current_fiber() __attribute__((weak));
void* __tsan_create_fiber(unsigned flags) __attribute__((weak));
void __tsan_switch_to_fiber(void* fiber, unsigned flags) __attribute__((weak));
void __tsan_acquire(void* address) __attribute__((weak));
void __tsan_release(void* address) __attribute__((weak));
void __tsan_read_range(void* address, unsigned long bytes) __attribute__((weak));
void __tsan_write_range(void* address, unsigned long bytes) __attribute__((weak));
void AnnotateIgnoreReadsBegin(const char* file, int line) __attribute__((weak));
void AnnotateIgnoreReadsEnd(const char* file, int line) __attribute__((weak));
void AnnotateIgnoreWritesBegin(const char* file, int line) __attribute__((weak));
void AnnotateIgnoreWritesEnd(const char* file, int line) __attribute__((weak));
void __sanitizer_start_switch_fiber(void** fake_stack, const void* bottom, std::size_t bytes) __attribute__((weak));
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** bottom, std::size_t* bytes) __attribute__((weak));
void __asan_poison_memory_region(const volatile void* address, std::size_t bytes) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void* address, std::size_t bytes) __attribute__((weak));
}

namespace cuda_emulator {

inline bool under_tsan() { return __tsan_create_fiber != nullptr; }
inline bool under_asan() { return __asan_poison_memory_region != nullptr; }

/// What happened before release(clock) happens before what follows acquire(clock); TSan knows no other order here.
inline void acquire(void* clock) {
  if (under_tsan()) __tsan_acquire(clock);
}
inline void release(void* clock) {
  if (under_tsan()) __tsan_release(clock);
}

/// A logical thread of TSan. The switch itself orders nothing.
class TsanFiber {
 public:
  TsanFiber() : fiber_(under_tsan() ? __tsan_create_fiber(0) : nullptr) {}
  static TsanFiber current() { return TsanFiber(under_tsan() ? __tsan_get_current_fiber() : nullptr); }
  void enter() const {
    constexpr unsigned kNoSync = 1;
    if (fiber_ != nullptr) __tsan_switch_to_fiber(fiber_, kNoSync);
  }

 private:
  explicit TsanFiber(void* fiber) : fiber_(fiber) {}
  void* fiber_;
};

/// While it lives, TSan sees no accesses of this thread: a library at work inside a stream's fiber.
class UnseenByTsan {
 public:
  UnseenByTsan() {
    if (!under_tsan()) return;
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~UnseenByTsan() {
    if (!under_tsan()) return;
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  UnseenByTsan(const UnseenByTsan&) = delete;
  UnseenByTsan& operator=(const UnseenByTsan&) = delete;
};

/// While it lives, accesses belong to `fiber`.
class OnTsanFiber {
 public:
  explicit OnTsanFiber(const TsanFiber& fiber) : before_(TsanFiber::current()) { fiber.enter(); }
  ~OnTsanFiber() { before_.enter(); }
  OnTsanFiber(const OnTsanFiber&) = delete;
  OnTsanFiber& operator=(const OnTsanFiber&) = delete;

 private:
  TsanFiber before_;
};

}  // namespace cuda_emulator
