// Defines: FlightCall, FlightRecord, FlightHeader, FlightLog, read_flight_log, describe, rank_list: what the flight
// recorder of a worker keeps, as it lies in its file, and how to read it.
//
// A file is one FlightHeader in 4096 bytes, then a ring of kFlightRecords records: record n lies at (n - 1) modulo the
// ring. All times are CLOCK_MONOTONIC of the worker's host in nanoseconds; the header relates them to the wall clock.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace ballast {

inline constexpr std::int64_t kFlightRecords = 4096;
inline constexpr std::int64_t kFlightHeaderBytes = 4096;
inline constexpr int kFlightGroups = 64;

enum class FlightCall : std::uint8_t {
  kBarrier,
  kBroadcast,
  kAllReduce,
  kAllReduceDisjoint,
  kAllGather,
  kSplit,
  kSplitByNode,
  kShare,
  kSend,
  kReceive,
  kMessages,  ///< a wait for messages that other workers of the node receive
};

/// One call of a collective, or one message.
struct FlightRecord {
  std::uint64_t number = 0;    ///< from 1 in the order of this worker's calls; 0: none
  std::uint64_t group = 0;     ///< equal on all its workers
  std::uint64_t sequence = 0;  ///< of a collective in its group, from 1; messages: 0
  std::uint64_t digest = 0;    ///< of all collectives up to this one that the workers compared
  std::int64_t count = 0;      ///< elements; bytes of broadcasts, gathers, shared memory and messages
  std::int64_t step = -1;      ///< -1: before the first
  std::int64_t posted_ns = 0;
  std::int64_t blocked_ns = 0;  ///< since when the worker has waited for it; 0: it has not
  std::int64_t done_ns = 0;     ///< 0: not yet
  FlightCall call = FlightCall::kBarrier;
  Reduction reduction = Reduction::kSum;
  std::uint16_t patience = 1;  ///< how many times the limit this wait may last
  std::int32_t partner = -1;   ///< rank in the world: root, sender or receiver
  std::int32_t tag = 0;
  std::array<char, 16> phase{};
  std::array<char, 28> unused{};
};
static_assert(sizeof(FlightRecord) == 128);

/// What a worker knows of one group that it is in.
struct FlightGroup {
  std::uint64_t id = 0;  ///< 0: a free place
  std::uint64_t size = 0;
  std::uint64_t entered = 0;  ///< number of its latest collective here
};

struct FlightHeader {
  std::array<char, 8> magic{};
  std::uint64_t version = 0;
  std::uint64_t job = 0;  ///< tells starts of one run folder apart
  std::int64_t rank = 0, workers = 1, process = 0;
  std::array<char, 64> host{};
  std::int64_t wall_anchor_ns = 0, anchor_ns = 0;  ///< one moment on both clocks
  std::int64_t alive_ns = 0;                       ///< the watchdog's latest round
  std::int64_t progress_ns = 0;                    ///< the training thread's latest call or phase
  std::int64_t step = -1;
  std::array<char, 16> phase{};
  std::int64_t waited_ns = 0;  ///< for other workers, all waits that have ended
  std::uint64_t records = 0;   ///< number of the latest record
  std::uint64_t blocked = 0;   ///< number of the record that the worker waits for; 0: none
  std::array<FlightGroup, kFlightGroups> groups{};

  /// Nanoseconds since 1970 of a moment of this worker.
  [[nodiscard]] std::int64_t wall(std::int64_t moment_ns) const { return moment_ns - anchor_ns + wall_anchor_ns; }
  /// nullptr where this worker is not in it.
  [[nodiscard]] const FlightGroup* group(std::uint64_t id) const;
};
static_assert(sizeof(FlightHeader) <= kFlightHeaderBytes);

struct FlightLog {
  FlightHeader header;
  std::optional<FlightRecord> blocked;  ///< what the worker waits for
  std::vector<FlightRecord> latest;     ///< in order, the last one newest
};

/// The log in an open file, with at most `latest` records; nullopt where there is none of `job` (0: of any). May be
/// read while its worker writes.
[[nodiscard]] std::optional<FlightLog> read_flight_log(int file, std::uint64_t job, std::int64_t latest);
[[nodiscard]] std::optional<FlightLog> read_flight_log(const std::string& path, std::uint64_t job, std::int64_t latest);

/// "all-reduce of 18 doubles in step 40"
[[nodiscard]] std::string describe(const FlightRecord& record);
/// "rank 1", "ranks 0, 2 and 3", "ranks 0-6 and 8". `ranks` are rising.
[[nodiscard]] std::string rank_list(const std::vector<int>& ranks);

}  // namespace ballast
