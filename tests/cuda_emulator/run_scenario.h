// Runs cuda_emulator_scenario in processes of its own, one for each seed.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <string>
#include <vector>

namespace cuda_emulator {

struct Outcome {
  int exit_code;
  std::string text;  // what it wrote
};

inline FILE* start(const std::string& command) { return popen((command + " 2>&1").c_str(), "r"); }

inline Outcome finish(FILE* process) {
  std::string text;
  char buffer[4096];
  while (const std::size_t bytes = std::fread(buffer, 1, sizeof buffer, process)) text.append(buffer, bytes);
  const int status = pclose(process);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text};
}

/// The outcomes with seeds 1, 2, ...; a few processes at a time.
inline std::vector<Outcome> run_with_seeds(const std::string& program, const std::string& scenario, int seeds) {
  constexpr int kAtATime = 4;
  std::vector<Outcome> outcomes;
  for (int first = 1; first <= seeds; first += kAtATime) {
    std::vector<FILE*> processes;
    for (int seed = first; seed < first + kAtATime && seed <= seeds; ++seed) {
      processes.push_back(
          start("ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=halt_on_error=1:atexit_sleep_ms=0 CUDA_EMULATOR_SEED=" +
                std::to_string(seed) + " " + program + " " + scenario));
    }
    for (FILE* process : processes) outcomes.push_back(finish(process));
  }
  return outcomes;
}

}  // namespace cuda_emulator
