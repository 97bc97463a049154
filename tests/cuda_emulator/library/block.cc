// The scheduler of a block: which thread runs next, and what a barrier waits for.
#include "block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cuda_runtime.h"
#include "random.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulator {
namespace {

Block* active_block = nullptr;

constexpr std::size_t kRestingFibers = 256;  // TSan: see FiberPool

/// Fibers of streams that are no more. They are not freed: there may be no more than 8128 under TSan, ever.
std::deque<Fiber*>& left_behind() {
  static auto* const fibers = new std::deque<Fiber*>;
  return *fibers;
}

std::vector<Thread> make_threads(dim3 shape) {
  std::vector<Thread> threads(std::size_t{shape.x} * shape.y * shape.z);
  for (unsigned t = 0; t < threads.size(); ++t) {
    threads[t].index = {t % shape.x, t / shape.x % shape.y, t / (shape.x * shape.y)};
  }
  return threads;
}

}  // namespace

Block* current_block() { return active_block; }

Fiber& FiberPool::take(std::size_t block_threads) {
  const std::size_t resting = under_tsan() ? std::max(kRestingFibers, block_threads) : 1;
  if (idle_.size() < resting && left_behind().empty()) return *new Fiber(Block::run_threads);
  if (idle_.size() < resting) {
    Fiber& fiber = *left_behind().front();
    left_behind().pop_front();
    return fiber;
  }
  Fiber& fiber = under_tsan() ? *idle_.front() : *idle_.back();
  under_tsan() ? idle_.pop_front() : idle_.pop_back();
  return fiber;
}

void FiberPool::retire() {
  left_behind().insert(left_behind().end(), idle_.begin(), idle_.end());
  idle_.clear();
}

Block::Block(dim3 shape, std::size_t dynamic_bytes, const std::function<void()>& kernel, FiberPool& fibers)
    : kernel_(kernel),
      fibers_(fibers),
      stream_(TsanFiber::current()),
      dynamic_bytes_(dynamic_bytes),
      threads_(make_threads(shape)),
      warps_((threads_.size() + 31) / 32),
      order_(threads_.size()),
      launch_clocks_(std::make_unique<LaunchClocks>()) {
  for (std::size_t t = 0; t < threads_.size(); ++t) warps_[t / 32].exists |= 1u << t % 32;
  ready_.reserve(threads_.size());
  active_block = this;
  release(&launch_clocks_->start);
}

Block::~Block() {
  acquire(&launch_clocks_->end);
  active_block = nullptr;
}

void Block::run() {
  begin();
  while (exited_ < threads_.size()) schedule();
  end();
}

void Block::begin() {
  started_ = exited_ = at_barrier_ = 0;
  barriers_passed_ = 0;
  barrier_clocks_ = std::make_unique<BarrierClocks>();
  for (Thread& thread : threads_) thread.state = Thread::State::kUnstarted;
  for (Warp& warp : warps_) warp.exited = 0;
  choose_order();
}

// Three blocks of four run warp after warp, each from a random lane: neighbours in a warp are then far ahead of other
// warps, which shows a missing barrier that a uniformly random order hides. The fourth runs in any order.
void Block::choose_order() {
  any_order_ = one_in(4);
  const int threads = static_cast<int>(threads_.size()), warps = static_cast<int>(warps_.size());
  if (any_order_) {
    for (int t = 0; t < threads; ++t) order_[t] = t;
    for (int t = threads; t > 1; --t) std::swap(order_[t - 1], order_[random_below(t)]);
    return;
  }
  const int first_warp = static_cast<int>(random_below(warps)), first_lane = static_cast<int>(random_below(32));
  const int flip = one_in(2) ? 31 : 0;
  std::size_t next = 0;
  for (int warp = 0; warp < warps; ++warp) {
    for (int lane = 0; lane < 32; ++lane) {
      const int thread = (warp + first_warp) % warps * 32 + ((lane + first_lane) % 32 ^ flip);
      if (thread < threads) order_[next++] = thread;
    }
  }
}

void Block::schedule() {
  const bool all_started = started_ == threads_.size();
  if (ready_.empty() && all_started) report_deadlock();
  if (ready_.empty() || (!all_started && any_order_ && one_in(2))) {
    fibers_.take(threads_.size()).resume();
  } else {
    const std::size_t next = any_order_ || one_in(16) ? random_below(ready_.size()) : ready_.size() - 1;
    const int thread = ready_[next];
    ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(next));  // in order: the warp on top stays together
    running_ = thread;
    threads_[thread].fiber->resume();
  }
  running_ = -1;
}

// One fiber runs thread after thread until one of them has to wait: kernels without barriers cost no switches.
void Block::run_threads(Fiber& self) {
  Block& block = *active_block;
  do {
    block.run_one_thread(self);
  } while (!under_tsan() && block.started_ < block.threads_.size() && (block.ready_.empty() || !one_in(8)));
  block.fibers_.give_back(self);
}

void Block::run_one_thread(Fiber& self) {
  running_ = order_[started_++];
  Thread& thread = threads_[running_];
  thread.fiber = &self;
  thread.state = Thread::State::kRunning;
  threadIdx = thread.index;
  self.tsan.enter();
  acquire(&launch_clocks_->start);
  kernel_();
  std::vector<AsyncCopy>().swap(thread.copies);
  std::vector<std::size_t>().swap(thread.copy_groups);
  release(&launch_clocks_->end);
  stream_.enter();
  exit_thread();
}

void Block::exit_thread() {
  threads_[running_].state = Thread::State::kExited;
  ++exited_;
  Warp& warp = warps_[running_ / 32];
  warp.exited |= 1u << running_ % 32;
  for (WarpMeeting* meeting : std::vector(warp.open)) complete(running_ / 32, meeting);
  complete_barrier();
}

void Block::wait(Site site) {
  const int self = running_;
  Thread& thread = threads_[self];
  thread.site = site;
  Fiber::suspend();
  running_ = self;
  threadIdx = thread.index;
  thread.state = Thread::State::kRunning;
}

void Block::make_ready(int thread) {
  threads_[thread].state = Thread::State::kReady;
  ready_.push_back(thread);
}

int Block::barrier(int predicate, Site site) {
  char* clock = barriers_passed_ % 2 == 0 ? &barrier_clocks_->even : &barrier_clocks_->odd;
  release(clock);
  {
    const Bookkeeping bookkeeping(*this);
    if (at_barrier_ == 0) {
      barrier_site_ = site;
      barrier_sum_ = 0;
    } else if (barrier_site_.line != site.line || std::strcmp(barrier_site_.file, site.file) != 0) {
      fail("divergent __syncthreads: this thread is at %s:%u, others wait at %s:%u", site.file, site.line,
           barrier_site_.file, barrier_site_.line);
    }
    barrier_sum_ += predicate != 0;
    ++at_barrier_;
    thread().state = Thread::State::kAtBarrier;
    complete_barrier();
    wait(site);
  }
  acquire(clock);
  return barrier_result_;
}

void Block::complete_barrier() {
  if (at_barrier_ == 0 || at_barrier_ + exited_ < threads_.size()) return;
  at_barrier_ = 0;
  ++barriers_passed_;
  barrier_result_ = barrier_sum_;
  for (int t = 0; t < static_cast<int>(threads_.size()); ++t) {
    if (threads_[t].state == Thread::State::kAtBarrier) make_ready(t);
  }
}

void Block::fence() {
  acquire(&launch_clocks_->fence);
  release(&launch_clocks_->fence);
}

void Block::report_deadlock() const {
  std::string waiting;
  int listed = 0;
  for (std::size_t t = 0; t < threads_.size() && listed < 8; ++t) {
    const Thread& thread = threads_[t];
    if (thread.state == Thread::State::kExited) continue;
    const bool barrier = thread.state == Thread::State::kAtBarrier;
    waiting += "\n  thread " + std::to_string(t) + " waits in " + (barrier ? "__syncthreads" : "a warp operation") +
               " at " + thread.site.file + ":" + std::to_string(thread.site.line);
    ++listed;
  }
  fail("block (%u,%u,%u): threads wait for ever (%zu of %zu have exited)%s", blockIdx.x, blockIdx.y, blockIdx.z,
       exited_, threads_.size(), waiting.c_str());
}

int barrier(int predicate, Site site) { return active_block->barrier(predicate, site); }
void fence() { active_block->fence(); }

}  // namespace cuda_emulator
