// Defines: Clock, repeat_for, gather_numbers, filled: what measurements are made of.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "comm/communicator.h"
#include "compute/backend.h"

namespace ballast {

/// Seconds since its start.
class Clock {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Collective. Seconds of each call of `work`, which is called for about `seconds` and at least once, on all workers
/// from the same moment on. One call before it is not counted: it makes what libraries keep and touches memory. `work`
/// itself must not be collective, for workers may call it different numbers of times.
[[nodiscard]] std::vector<double> repeat_for(double seconds, Backend& backend, Communicator& world,
                                             const std::function<void()>& work);

/// Collective. Every worker's `mine`, by rank.
[[nodiscard]] std::vector<double> gather_numbers(Communicator& world, double mine);

/// Memory with numbers between -1 and 1 in it, the same on every call: zeros could be faster than what training has.
/// f32 or bf16.
[[nodiscard]] Buffer filled(Backend& backend, std::int64_t elements, DType dtype);

}  // namespace ballast
