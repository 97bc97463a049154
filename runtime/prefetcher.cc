#include "runtime/prefetcher.h"

#include <utility>

namespace ballast {

Prefetcher::Prefetcher(const Dataset& data) : data_(data), thread_([this] { work(); }) {}

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Prefetcher::request(const std::vector<std::int64_t>& indices) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !wanted_; });
    failure_ = nullptr;
    indices_ = indices;
    wanted_ = true;
  }
  changed_.notify_all();
}

const Samples& Prefetcher::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !wanted_; });
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  return buffers_[std::exchange(filling_, 1 - filling_)];
}

void Prefetcher::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return wanted_ || stopping_; });
    if (stopping_) return;
    lock.unlock();
    std::exception_ptr failure;
    try {
      data_.read(indices_, buffers_[filling_]);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure;
    wanted_ = false;
    changed_.notify_all();
  }
}

}  // namespace ballast
