// Defines: Outcome, run_command: a job as its user sees it, for tests that start mpirun themselves.
#pragma once

#include <sys/wait.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <string>

namespace ballast {

struct Outcome {
  int exit_code = -1;
  double seconds = 0.0;
  std::string output;  ///< of both streams
};

/// `workers` = 0: without mpirun.
inline Outcome run_command(std::string command, int workers) {
  command += " 2>&1";
  if (workers > 0) command = std::string(MPIEXEC) + " -n " + std::to_string(workers) + " " + command;
  const auto start = std::chrono::steady_clock::now();
  Outcome outcome;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), part.size(), pipe) != nullptr) outcome.output += part.data();
  const int status = pclose(pipe);
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return outcome;
}

}  // namespace ballast
