// Defines: ScratchPool, ScratchArray: memory that tasks borrow.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "compute/cpu/aligned_memory.h"

namespace ballast {

/// Lends blocks and keeps them: after the first steps there are as many as threads, and nothing is allocated.
/// Thread-safe.
class ScratchPool {
 public:
  /// Gives its block back when it dies. Must not outlive the pool.
  class Lease {
   public:
    Lease(ScratchPool& pool, std::unique_ptr<AlignedMemory> block, std::int64_t bytes)
        : pool_(pool), block_(std::move(block)), next_(block_->at_least(bytes)) {}
    Lease(Lease&&) noexcept = default;
    ~Lease() {
      if (block_ != nullptr) pool_.give_back(std::move(block_));
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    /// The next `count` elements, aligned to 64 bytes and not cleared. All that is taken, each rounded up to 64 bytes,
    /// must fit in the bytes asked for.
    template <class T>
    T* take(std::int64_t count) {
      auto* const taken = reinterpret_cast<T*>(next_);
      next_ += bytes_of<T>(count);
      return taken;
    }

   private:
    ScratchPool& pool_;
    std::unique_ptr<AlignedMemory> block_;
    std::byte* next_;
  };

  template <class T>
  static constexpr std::int64_t bytes_of(std::int64_t count) {
    return (count * static_cast<std::int64_t>(sizeof(T)) + 63) / 64 * 64;
  }

  [[nodiscard]] Lease lend(std::int64_t bytes);

 private:
  void give_back(std::unique_ptr<AlignedMemory> block) noexcept;

  std::mutex mutex_;
  std::vector<std::unique_ptr<AlignedMemory>> free_;
};

/// `size` zeros of a plain type in borrowed memory.
template <class T>
class ScratchArray {
 public:
  ScratchArray(ScratchPool& pool, std::int64_t size)
      : lease_(pool.lend(ScratchPool::bytes_of<T>(size))),
        data_(lease_.take<T>(size)),
        size_(static_cast<std::size_t>(size)) {
    std::fill_n(data_, size, T{});
  }
  [[nodiscard]] T* data() { return data_; }
  [[nodiscard]] const T* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T& operator[](std::size_t i) { return data_[i]; }
  [[nodiscard]] const T& operator[](std::size_t i) const { return data_[i]; }
  [[nodiscard]] const T* begin() const { return data_; }
  [[nodiscard]] const T* end() const { return data_ + size_; }

 private:
  ScratchPool::Lease lease_;
  T* data_;
  std::size_t size_;
};

}  // namespace ballast
