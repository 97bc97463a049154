// Defines: ThreadPool: the one set of threads of a worker.
//
// Libraries (oneDNN, OpenBLAS) always run on one thread inside a task: work is cut into tasks by shape alone, or where
// the cut cannot change a bit, so the number of threads can change the speed but not the bits, and no two thread
// runtimes fight over the cores.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "compute/cpu/scratch.h"

namespace ballast {

class ThreadPool {
 public:
  /// `threads` >= 1, the calling thread included. The caller's and the pool's threads have their OpenMP and BLAS thread
  /// counts set to 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int threads() const;

  /// Memory for tasks.
  [[nodiscard]] ScratchPool& scratch() { return scratch_; }

  /// Calls body(task) once for every task in [0, tasks), on all threads, and waits. The first exception is rethrown
  /// here. Tasks must not call run(). Must be called from one thread at a time.
  void run(std::int64_t tasks, const std::function<void(std::int64_t task)>& body);

  /// The same over [0, size) cut into ranges of `grain` (fixed by the caller, never by the number of threads).
  void run_ranges(std::int64_t size, std::int64_t grain,
                  const std::function<void(std::int64_t begin, std::int64_t end)>& body);

 private:
  class Impl;
  ScratchPool scratch_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast
