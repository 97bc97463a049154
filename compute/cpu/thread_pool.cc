#include "compute/cpu/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "compute/cpu/library_threads.h"
#include "compute/error.h"

namespace ballast {

namespace {

using Body = std::function<void(std::int64_t)>;

// A waiting thread asks this many times before it sleeps, some 20 to 50 microseconds: about the time from one operation
// of a step to the next. It yields in between, so that a machine with more threads than cores is not slowed.
constexpr int kSpins = 64;

template <typename Condition>
bool spin_until(const Condition& condition) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (condition()) return true;
    std::this_thread::yield();
  }
  return condition();
}

struct EndsRun {
  std::atomic<bool>& running;
  ~EndsRun() { running = false; }
};

}  // namespace

// A run is open from run()'s start until its tasks are all taken. Threads enter an open run and leave it; run() returns
// when every one that entered has left. A thread that wakes late finds the run closed and waits for the next: nobody
// waits for it.
class ThreadPool::Impl {
 public:
  explicit Impl(int threads);
  ~Impl() { stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  [[nodiscard]] int threads() const { return static_cast<int>(workers_.size()) + 1; }
  void run(std::int64_t tasks, const Body& body);

 private:
  void stop();
  void work();
  void take_tasks(const Body& body);
  void open(std::int64_t tasks, const Body& body);
  std::exception_ptr close();

  std::mutex mutex_;
  std::condition_variable opened_;
  std::condition_variable emptied_;
  // Written under mutex_; also read without it by threads that spin.
  std::atomic<std::uint64_t> runs_{0};
  std::atomic<int> inside_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> running_{false};
  // Guarded by mutex_.
  bool open_ = false;
  const Body* body_ = nullptr;
  std::exception_ptr failure_;
  // Written while no thread is inside.
  std::int64_t tasks_ = 0;
  std::atomic<std::int64_t> next_{0};

  std::vector<std::thread> workers_;
};

ThreadPool::Impl::Impl(int threads) {
  workers_.reserve(static_cast<std::size_t>(threads) - 1);
  try {
    while (static_cast<int>(workers_.size()) < threads - 1) workers_.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    stop();
    throw Error("cannot start " + std::to_string(threads) + " threads: " + error.what() +
                "; lower compute.threads or raise the limit on processes");
  }
}

void ThreadPool::Impl::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  opened_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::Impl::work() {
  use_one_library_thread();
  std::uint64_t seen = 0;
  while (!stopping_) {
    const auto has_news = [&] { return stopping_ || runs_ != seen; };
    spin_until(has_news);
    std::unique_lock lock(mutex_);
    opened_.wait(lock, has_news);
    seen = runs_;
    if (!open_) continue;
    const Body& body = *body_;
    ++inside_;
    lock.unlock();
    take_tasks(body);
    lock.lock();
    if (--inside_ == 0) emptied_.notify_one();
  }
}

void ThreadPool::Impl::take_tasks(const Body& body) {
  while (true) {
    const std::int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
    if (task >= tasks_) return;
    try {
      body(task);
    } catch (...) {
      next_.store(tasks_, std::memory_order_relaxed);
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }
}

void ThreadPool::Impl::open(std::int64_t tasks, const Body& body) {
  {
    const std::lock_guard lock(mutex_);
    open_ = true;
    body_ = &body;
    failure_ = nullptr;
    tasks_ = tasks;
    next_ = 0;
    ++runs_;
  }
  opened_.notify_all();
}

std::exception_ptr ThreadPool::Impl::close() {
  {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  spin_until([this] { return inside_ == 0; });
  std::unique_lock lock(mutex_);
  emptied_.wait(lock, [this] { return inside_ == 0; });
  return std::exchange(failure_, nullptr);
}

void ThreadPool::Impl::run(std::int64_t tasks, const Body& body) {
  require(!running_.exchange(true), "ThreadPool::run was called from inside a task or from two threads");
  const EndsRun ends_run{running_};
  use_one_library_thread();
  if (workers_.empty() || tasks <= 1) {
    for (std::int64_t task = 0; task < tasks; ++task) body(task);
    return;
  }
  open(tasks, body);
  take_tasks(body);
  if (const auto failure = close()) std::rethrow_exception(failure);
}

ThreadPool::ThreadPool(int threads) {
  require(threads >= 1, "a thread pool needs at least one thread");
  use_one_library_thread();
  impl_ = std::make_unique<Impl>(threads);
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const { return impl_->threads(); }

void ThreadPool::run(std::int64_t tasks, const Body& body) { impl_->run(tasks, body); }

void ThreadPool::run_ranges(std::int64_t size, std::int64_t grain,
                            const std::function<void(std::int64_t begin, std::int64_t end)>& body) {
  require(grain >= 1, "the grain of a range must be positive");
  impl_->run((size + grain - 1) / grain,
             [&](std::int64_t task) { body(task * grain, std::min(size, (task + 1) * grain)); });
}

}  // namespace ballast
