// Defines: WorkerFacts, HangVerdict, explain_hang: who keeps the others waiting.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/flight_record.h"
#include "compute/error.h"
#include "runtime/supervision/process_state.h"

namespace ballast {

struct WorkerFacts {
  std::optional<FlightLog> log;  ///< nullopt: its recorder's file is not there
  ProcessState process = ProcessState::kUnknown;
  bool answers = true;  ///< false: its watchdog did not report when it was asked to
};

struct HangVerdict {
  ExitCode code = ExitCode::kHang;  ///< kDesync where workers wait for each other in calls that do not match
  std::vector<int> suspects;        ///< rising
  std::string text;                 ///< one line without an end
};

/// `workers`: by rank; at least one of them is blocked. `now`: nanoseconds since 1970. Suspects are, in this order:
/// workers whose process is stopped or dead; workers that others wait for and that wait for nobody; workers that do
/// not answer.
[[nodiscard]] HangVerdict explain_hang(const std::vector<WorkerFacts>& workers, std::int64_t now);

/// "0.6 s", "612 s"
[[nodiscard]] std::string elapsed_text(double seconds);
/// "rank 2 on node7 (its process is stopped; 12 s ago in phase backward of step 40)"
[[nodiscard]] std::string describe_worker(const WorkerFacts& worker, int rank, std::int64_t now);

}  // namespace ballast
