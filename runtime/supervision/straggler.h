// Defines: StragglerWatch: which worker the others wait for, step by step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/supervision/hang_analysis.h"

namespace ballast {

/// Compares how long workers waited for each other between two looks. In a step everybody waits for the slowest, which
/// waits for nobody.
class StragglerWatch {
 public:
  /// One line about a worker that cost the others at least half of the time since the last look; "" where there is
  /// none, or where it is the one that was named last.
  [[nodiscard]] std::string look(const std::vector<WorkerFacts>& workers);

 private:
  struct Sample {
    std::int64_t moment_ns = 0;  ///< 0: none from after the first step
    std::int64_t waited_ns = 0;
  };
  std::vector<Sample> last_;
  int named_ = -1;
};

/// The rank whose share of waiting is at least half (of all time) below what most others have, and a quarter below
/// everybody's; -1: none.
[[nodiscard]] int straggler_among(const std::vector<double>& shares);

}  // namespace ballast
