// Defines: Verdict, Outcome, outcomes, outcome_of: what an exit code of a job means for whoever supervises it.
#pragma once

#include <span>
#include <string>

namespace ballast {

enum class Verdict {
  kDone,     ///< nothing is left to do
  kStopped,  ///< a checkpoint was saved because somebody asked
  kFinal,    ///< the same command would fail again
  kAgain,    ///< going on from the last checkpoint may help
};

struct Outcome {
  int code;  ///< as a shell reports it: 128 + n for an end by signal n
  Verdict verdict;
  const char* meaning;
};

/// The codes with a meaning of their own, in order. docs/launching.md shows this table.
[[nodiscard]] std::span<const Outcome> outcomes();

/// Every other code is Verdict::kAgain.
[[nodiscard]] Verdict verdict_of(int code);

/// "exit code 65, damaged data or checkpoint", "signal 9 (Killed)".
[[nodiscard]] std::string code_text(int code);

}  // namespace ballast
