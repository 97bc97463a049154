// Defines: WatchdogOptions, Watchdog: ends a job in which workers wait for one that does not come.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "comm/flight_recorder.h"
#include "compute/error.h"
#include "runtime/supervision/hang_analysis.h"
#include "runtime/supervision/straggler.h"

namespace ballast {

struct WatchdogOptions {
  double timeout_seconds = 600;
  std::string folder;  ///< with the recorders' files of all workers; empty: there is none
  std::uint64_t job = 1;
  int rank = 0, workers = 1;
  double straggler_seconds = 60;                 ///< between looks for a worker that is slower than the others
  std::function<void(const std::string&)> warn;  ///< tells the user
  std::function<void(const Error&)> end;         ///< what to do about a hang; ends the process
};

/// A thread that looks at its worker's flight recorder five times a second. It communicates through files only, so that
/// it works when MPI does not. Where the worker has waited for longer than its limit:
///  * The first watchdog that can make hang-<job>.txt examines the hang. Every watchdog that sees the file, at most a
///    second later, writes hang-<job>-rank-<r>.txt: its threads and its latest records.
///  * When all have, or after three seconds, the examiner reads all recorders and calls `end` with the one line that
///    names the culprit. A process that exits so ends the job, stopped processes included.
///  * Did its worker go on meanwhile, it takes the file away and the job continues.
/// At half the limit it warns, and rank 0's warns of a worker that keeps the others waiting in every step. Time in
/// which the process itself was stopped does not count.
class Watchdog {
 public:
  Watchdog(FlightRecorder& recorder, WatchdogOptions options);
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void watch(const std::stop_token& stop);
  void look(const std::stop_token& stop);
  [[nodiscard]] double waited(const FlightRecord& record) const;
  void warn_about(const FlightLog& log);
  void look_for_straggler();
  void examine(const std::stop_token& stop, std::uint64_t blocked);
  void assist(const std::stop_token& stop);
  void conclude(const HangVerdict& verdict, const std::vector<WorkerFacts>& workers);
  void end_alone(const char* why);
  void write_report() const;
  [[nodiscard]] bool all_reported() const;
  [[nodiscard]] std::vector<WorkerFacts> facts() const;
  [[nodiscard]] WorkerFacts facts_of(int rank) const;
  [[nodiscard]] std::string hang_file() const;
  [[nodiscard]] std::string report_file(int rank) const;

  FlightRecorder& recorder_;
  WatchdogOptions options_;
  std::uint64_t warned_ = 0;  ///< number of the record that a warning was given for
  int round_ = 0;
  StragglerWatch stragglers_;
  std::int64_t straggler_look_ns_ = 0;
  std::int64_t awake_since_ = 0;  ///< a process that was stopped has not waited before
  std::jthread thread_;
};

/// Where a worker's recorder has its file in `folder`.
[[nodiscard]] std::string flight_file(const std::string& folder, int rank);

/// Prints a line of worker `rank` to stderr.
void say(int rank, const std::string& text);
/// Prints the error as the last words of worker `rank` and ends the process at once. Works while every other thread of
/// the process hangs.
[[noreturn]] void end_process(int rank, const Error& error);

}  // namespace ballast
