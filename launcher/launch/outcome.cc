#include "launcher/launch/outcome.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace ballast {
namespace {

constexpr int kSignalled = 128;  // a shell's code for an end by signal n is 128 + n
constexpr int kLastSignal = 64;

constexpr std::array kOutcomes = {
    Outcome{0, Verdict::kDone, "done"},
    Outcome{64, Verdict::kFinal, "usage"},
    Outcome{65, Verdict::kFinal, "damaged data or checkpoint"},
    Outcome{69, Verdict::kFinal, "made by a newer Ballast"},
    Outcome{70, Verdict::kAgain, "a defect, or a library or machine that failed"},
    Outcome{73, Verdict::kAgain, "another job writes into the run folder"},
    Outcome{74, Verdict::kAgain, "input or output failed"},
    Outcome{75, Verdict::kStopped, "stopped after a checkpoint"},
    Outcome{76, Verdict::kAgain, "workers disagree"},
    Outcome{78, Verdict::kFinal, "job file"},
    Outcome{79, Verdict::kAgain, "a worker hung"},
    Outcome{126, Verdict::kFinal, "mpirun cannot be executed"},
    Outcome{127, Verdict::kFinal, "mpirun was not found"},
    Outcome{205, Verdict::kAgain, "mpirun lost a host"},
};

const Outcome* find(int code) {
  const auto* found =
      std::find_if(kOutcomes.begin(), kOutcomes.end(), [&](const Outcome& o) { return o.code == code; });
  return found == kOutcomes.end() ? nullptr : found;
}

}  // namespace

std::span<const Outcome> outcomes() { return kOutcomes; }

Verdict verdict_of(int code) {
  const Outcome* known = find(code);
  return known == nullptr ? Verdict::kAgain : known->verdict;
}

std::string code_text(int code) {
  const int number = code - kSignalled;
  if (number > 0 && number <= kLastSignal) {
    return "signal " + std::to_string(number) + " (" + strsignal(number) + ")";  // NOLINT(concurrency-mt-unsafe)
  }
  const Outcome* known = find(code);
  return "exit code " + std::to_string(code) + (known == nullptr ? "" : std::string(", ") + known->meaning);
}

}  // namespace ballast
