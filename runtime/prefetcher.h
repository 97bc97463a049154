// Defines: Prefetcher: reads the next samples while the present ones are computed on.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/dataset.h"

namespace ballast {

/// One thread and two buffers. request() and read() alternate; both are called from one thread.
class Prefetcher {
 public:
  /// `data` must outlive it.
  explicit Prefetcher(const Dataset& data);
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// Starts reading. What was requested before and not taken is given up.
  void request(const std::vector<std::int64_t>& indices);
  /// The samples requested last, waited for; valid until the request after the next. Throws what Dataset::read threw.
  const Samples& take();

 private:
  void work();

  const Dataset& data_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_. The buffer that is being filled belongs to the thread from `wanted_` until it is false again.
  bool wanted_ = false, stopping_ = false;
  std::exception_ptr failure_;
  std::vector<std::int64_t> indices_;
  int filling_ = 0;
  Samples buffers_[2];
  std::thread thread_;
};

}  // namespace ballast
