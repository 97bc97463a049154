// Defines: StopSignals: SIGUSR1, SIGUSR2, SIGTERM and SIGINT become a request to checkpoint and stop.
#pragma once

#include <csignal>
#include <thread>

namespace ballast {

/// While one is alive the signals set a flag; a second SIGINT or SIGTERM ends the process at once. mpirun forwards
/// SIGUSR1 and SIGUSR2 and leaves all the time a save needs; after SIGTERM it kills within about a second. At most one
/// per process.
///
/// Make it before the threads that compute: it blocks the signals in the calling thread and in those that this one
/// starts later, and takes them on a thread of its own. Generated matrix kernels (oneDNN 2.6's sgemm) use the stack
/// pointer as an ordinary register, so a handler that ran on their thread would write its frame into whatever they
/// point at.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  [[nodiscard]] bool requested() const;

 private:
  sigset_t mask_before_ = {};
  std::jthread taker_;
};

}  // namespace ballast
