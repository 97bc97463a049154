// Defines: StopSignals: SIGUSR1, SIGUSR2, SIGTERM and SIGINT become a request to checkpoint and stop.
#pragma once

namespace ballast {

/// While one is alive the signals set a flag; a second SIGINT or SIGTERM ends the process at once. mpirun forwards
/// SIGUSR1 and SIGUSR2 and leaves all the time a save needs; after SIGTERM it kills within about a second. At most one
/// per process.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  [[nodiscard]] bool requested() const;
};

}  // namespace ballast
