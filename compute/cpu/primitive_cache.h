// Defines: PrimitiveCache: oneDNN kernels by shape.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

#include "compute/cpu/library_threads.h"

namespace ballast {

/// Remembers what `make` built for a key: building a primitive compiles machine code, some milliseconds. Thread-safe.
/// `Value` is a handle: cheap to copy. `Key` is ordered and holds everything that the kernel depends on.
template <typename Key, typename Value>
class PrimitiveCache {
 public:
  template <typename Make>
  [[nodiscard]] Value get(const Key& key, const Make& make) {
    const std::lock_guard lock(mutex_);
    if (const auto found = values_.find(key); found != values_.end()) return found->second;
    // A job has a few hundred shapes; generation has one for each length of text. Starting over keeps the memory
    // bounded.
    if (values_.size() >= kMost) values_.clear();
    use_one_library_thread();
    return values_.emplace(key, make()).first->second;
  }

 private:
  static constexpr std::size_t kMost = 2048;
  std::mutex mutex_;
  std::map<Key, Value> values_;
};

}  // namespace ballast
