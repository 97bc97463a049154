// Defines: SupervisionOptions, Supervision: what finds out when workers hang or disagree.
#pragma once

#include <memory>
#include <string>

#include "comm/flight_recorder.h"
#include "comm/watched_communicator.h"
#include "compute/error.h"

namespace ballast {

struct SupervisionOptions {
  std::string folder;            ///< for flight recorders and reports, seen by all workers; empty: none
  double timeout_seconds = 600;  ///< see WatchSection
  bool collectives = true;       ///< see WatchSection
};

class Watchdog;

/// A worker's flight recorder, the communicator that fills it, and the watchdog that reads it: docs/failures.md.
class Supervision {
 public:
  /// Collective over `world`, which must outlive it. Makes the folder. One that cannot be written is told by
  /// problem(), nothing more.
  Supervision(Communicator& world, const SupervisionOptions& options);
  Supervision(const Supervision&) = delete;
  Supervision& operator=(const Supervision&) = delete;
  ~Supervision();

  /// To be used instead of the world it was made with.
  [[nodiscard]] Communicator& world() { return *world_; }
  [[nodiscard]] FlightRecorder& recorder() { return *recorder_; }
  /// Of the first worker whose recorder has no file; the same on all workers.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  std::unique_ptr<FlightRecorder> recorder_;
  std::unique_ptr<WatchedCommunicator> world_;
  std::unique_ptr<Watchdog> watchdog_;  ///< last: it ends before what it watches
  std::string problem_;
};

/// How many times as long workers may wait for each other where files are read and written.
inline constexpr std::uint16_t kSlowPatience = 6;

}  // namespace ballast
