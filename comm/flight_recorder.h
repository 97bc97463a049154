// Defines: FlightRecorder: the latest collectives and messages of one worker, in memory that outlives its process.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "comm/flight_record.h"

namespace ballast {

struct FlightRecorderOptions {
  std::string path;  ///< empty: anonymous memory, which ends with the process
  std::uint64_t job = 1;
  int rank = 0, workers = 1;
};

/// The file is mapped, so what was recorded survives kill -9 without any call that could wait. Its space is reserved at
/// the start: a disk that fills up cannot hurt later. Calls may be recorded from any thread, but one
/// thread enters phases and waits. Any thread may read log(). Recording never throws and takes no memory.
class FlightRecorder {
 public:
  /// Where the file cannot be made the records go to anonymous memory, and problem() says why.
  explicit FlightRecorder(const FlightRecorderOptions& options);
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;
  ~FlightRecorder();
  [[nodiscard]] const std::string& problem() const { return problem_; }

  /// What the worker does from now on.
  void enter(std::string_view phase);
  void begin_step(std::int64_t step);
  /// Waits that begin from now on may last so many times the limit.
  void allow(std::uint16_t patience);
  [[nodiscard]] std::int64_t step() const;

  /// Appends a record of a call that begins now and fills in its number, step, phase and times.
  void post(FlightRecord& record, bool blocks);
  /// The worker begins to wait for a record that did not block so far. One that the ring has lost meanwhile is posted
  /// anew.
  void block(FlightRecord& record);
  void end(const FlightRecord& record);

  /// The place of a group in the header; -1 where there is none left.
  [[nodiscard]] int add_group(std::uint64_t id, int size);
  void enter_collective(int place, std::uint64_t sequence);
  void drop_group(int place);

  // From any thread:
  void tell_alive();
  [[nodiscard]] std::optional<FlightLog> log(std::int64_t latest) const { return read_flight_log(file_, 0, latest); }
  /// Bring the file, or what describes the worker, to where other hosts can see it.
  void flush() const;
  void flush_header() const;

 private:
  [[nodiscard]] FlightHeader& header() const { return *static_cast<FlightHeader*>(memory_); }
  [[nodiscard]] std::span<std::uint64_t> words_of(std::uint64_t number) const;
  void store(const FlightRecord& record);
  void post_locked(FlightRecord& record, bool blocks);
  [[nodiscard]] bool holds(std::uint64_t number) const;
  void open(const std::string& path);
  void describe_worker(const FlightRecorderOptions& options);

  int file_ = -1;
  void* memory_ = nullptr;
  std::string problem_;
  mutable std::mutex mutex_;  // of everything below, and of the ring
  std::uint64_t number_ = 0;  ///< of the latest record
  std::int64_t step_ = -1;
  std::array<char, 16> phase_{};
  std::uint16_t patience_ = 1;
  std::int64_t waited_ns_ = 0;
};

/// Lets waits last `patience` times the limit, in a phase of that name, while it is alive.
class SlowPhase {
 public:
  SlowPhase(FlightRecorder& recorder, std::string_view phase, std::uint16_t patience) : recorder_(recorder) {
    recorder_.enter(phase);
    recorder_.allow(patience);
  }
  SlowPhase(const SlowPhase&) = delete;
  SlowPhase& operator=(const SlowPhase&) = delete;
  ~SlowPhase() { recorder_.allow(1); }

 private:
  FlightRecorder& recorder_;
};

/// CLOCK_MONOTONIC.
[[nodiscard]] std::int64_t monotonic_ns();

}  // namespace ballast
