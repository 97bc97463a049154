// Defines: Phase, PhaseSeconds, PhaseClock: where the time of a step goes.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "comm/flight_recorder.h"

namespace ballast {

enum class Phase : std::uint8_t {
  kData,           ///< waiting for samples
  kForward,        ///< losses of my shards
  kBackward,       ///< gradients of my shards; messages that travel meanwhile are part of it
  kCommunication,  ///< exposed: sums over shards, agreement, publishing, and waiting for other workers
  kUpdate,         ///< zeroing gradients; norm, clipping and optimizer on my slices
  kOther,          ///< reports, evaluation, snapshots
};

inline constexpr std::array<const char*, 6> kPhaseNames = {"data",          "forward", "backward",
                                                           "communication", "update",  "other"};

/// By Phase.
using PhaseSeconds = std::array<double, kPhaseNames.size()>;

/// Time always belongs to exactly one phase, so the phases of a step add up to the step.
class PhaseClock {
 public:
  void enter(Phase phase) {
    const Clock::time_point now = Clock::now();
    seconds_[static_cast<std::size_t>(phase_)] += std::chrono::duration<double>(now - since_).count();
    since_ = now;
    phase_ = phase;
    if (recorder_ != nullptr) recorder_->enter(kPhaseNames[static_cast<std::size_t>(phase)]);
  }
  /// Tells `recorder`, which must outlive the clock, every phase from now on.
  void record_in(FlightRecorder& recorder) { recorder_ = &recorder; }
  /// Seconds by phase since the last call. The present phase goes on.
  PhaseSeconds take() {
    enter(phase_);
    const PhaseSeconds taken = seconds_;
    seconds_ = {};
    return taken;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Phase phase_ = Phase::kOther;
  Clock::time_point since_ = Clock::now();
  PhaseSeconds seconds_{};
  FlightRecorder* recorder_ = nullptr;
};

}  // namespace ballast
