// One block of a grid: its threads, barriers, warps and shared memory.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "cuda_emulator/execution.h"
#include "fiber.h"

namespace cuda_emulator {

struct WarpMeeting {
  WarpOperation operation{};
  std::uint32_t mask = 0, arrived = 0, left = 0;
  Site site{};
  std::array<Deposit, 32> deposits;
};

/// One CUDA thread.
struct Thread {
  enum class State : std::uint8_t { kUnstarted, kRunning, kReady, kAtBarrier, kInWarpOperation, kExited };
  State state = State::kUnstarted;
  uint3 index{};
  Fiber* fiber = nullptr;
  WarpMeeting* meeting = nullptr;
  Site site{};  // where it waits
  std::vector<AsyncCopy> copies;
  std::vector<std::size_t> copy_groups;  // where the committed groups end in `copies`
};

/// The fibers that threads of one stream run on. Under TSan a fiber is a logical thread of its own and rests while at
/// least 256 others, and a whole block, run before it is taken again: an early reuse would order two blocks that
/// nothing orders.
class FiberPool {
 public:
  Fiber& take(std::size_t block_threads);
  void retire();  ///< of a stream that ends: leaves its fibers to streams to come
  void give_back(Fiber& fiber) { idle_.push_back(&fiber); }

 private:
  std::deque<Fiber*> idle_;
};

/// What orders a launch for TSan; in the heap, where a sanitizer forgets an address that is freed.
struct LaunchClocks {
  char start = 0, end = 0, fence = 0;
};

class Block {
 public:
  Block(dim3 shape, std::size_t dynamic_bytes, const std::function<void()>& kernel, FiberPool& fibers);
  ~Block();
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// Runs every thread of the block to its end, in a random order.
  void run();

  static void run_threads(Fiber& self);  // the work of every fiber

  // Called by the thread that runs.
  int barrier(int predicate, Site site);
  WarpMeeting* meet(WarpOperation operation, std::uint32_t mask, const Deposit& deposit, Site site);
  void leave(WarpMeeting* meeting, int lane);
  void* shared_object(const void* tag, std::size_t bytes);
  void fence();
  [[nodiscard]] std::size_t dynamic_bytes() const { return dynamic_bytes_; }
  [[nodiscard]] Thread& thread() { return threads_[running_]; }
  [[nodiscard]] int running() const { return running_; }  // -1: none

 private:
  struct Warp {
    std::uint32_t exists = 0, exited = 0;
    std::vector<WarpMeeting*> open;  // meetings that wait for lanes
  };
  struct SharedObject {
    const void* tag;
    void* memory;
    std::size_t bytes;
  };
  struct BarrierClocks {
    char even = 0, odd = 0;  // two barriers can be in flight at once: late leavers of one, early comers of the next
  };
  class Bookkeeping;  // while it lives, accesses belong to the stream, to no CUDA thread

  void run_one_thread(Fiber& self);
  void begin();
  void end();
  void choose_order();
  void schedule();
  void wait(Site site);
  void make_ready(int thread);
  void complete_barrier();
  void complete(int warp, WarpMeeting* meeting);
  void exit_thread();
  WarpMeeting* open_meeting(WarpOperation operation, std::uint32_t mask, Site site);
  [[noreturn]] void report_deadlock() const;

  const std::function<void()>& kernel_;
  FiberPool& fibers_;
  TsanFiber stream_;  // the logical thread that launched
  std::size_t dynamic_bytes_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<int> order_, ready_;
  std::vector<SharedObject> shared_;
  std::size_t shared_bytes_ = 0;
  std::vector<std::unique_ptr<WarpMeeting>> idle_meetings_;
  std::unique_ptr<LaunchClocks> launch_clocks_;
  std::unique_ptr<BarrierClocks> barrier_clocks_;
  bool any_order_ = false;  // this block: any thread next, else warp after warp
  std::size_t started_ = 0, exited_ = 0, at_barrier_ = 0;
  int running_ = -1;
  int barrier_sum_ = 0, barrier_result_ = 0;
  unsigned barriers_passed_ = 0;
  Site barrier_site_{};
};

class Block::Bookkeeping {
 public:
  explicit Bookkeeping(Block& block) : block_(block) { block.stream_.enter(); }
  ~Bookkeeping() { block_.thread().fiber->tsan.enter(); }
  Bookkeeping(const Bookkeeping&) = delete;
  Bookkeeping& operator=(const Bookkeeping&) = delete;

 private:
  Block& block_;
};

/// The block whose threads run now, or null.
Block* current_block();
/// What runs now, for reports: the name of a kernel or of a call.
void set_current_work(const char* what);

}  // namespace cuda_emulator
