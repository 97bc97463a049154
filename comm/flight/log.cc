#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "comm/flight_record.h"

namespace ballast {
namespace {

template <typename T>
bool read_at(int file, std::int64_t offset, T& value) {
  return pread(file, &value, sizeof(value), offset) == static_cast<ssize_t>(sizeof(value));
}

/// nullopt where the ring has lost it, or where its worker is writing it.
std::optional<FlightRecord> read_record(int file, std::uint64_t number) {
  FlightRecord record;
  const auto place = static_cast<std::int64_t>((number - 1) % kFlightRecords);
  const std::int64_t offset = kFlightHeaderBytes + place * static_cast<std::int64_t>(sizeof(record));
  std::uint64_t after = 0;  // its worker may have begun the next record in this place meanwhile
  if (number == 0 || !read_at(file, offset, record) || !read_at(file, offset, after)) return std::nullopt;
  if (record.number != number || after != number) return std::nullopt;
  return record;
}

std::string unit_of(const FlightRecord& record) {
  std::string unit = "byte";
  if (record.call == FlightCall::kAllReduce) unit = "integer";
  if (record.call == FlightCall::kAllReduceDisjoint) unit = "double";
  return record.count == 1 ? unit : unit + "s";
}

std::string amount(const FlightRecord& record) { return " of " + std::to_string(record.count) + " " + unit_of(record); }

std::string name_of(const FlightRecord& record) {
  const std::string partner = "rank " + std::to_string(record.partner);
  switch (record.call) {
    case FlightCall::kBarrier:
      return "barrier";
    case FlightCall::kBroadcast:
      return "broadcast" + amount(record) + " from " + partner;
    case FlightCall::kAllReduce: {
      const char* how = record.reduction == Reduction::kSum   ? " (sum)"
                        : record.reduction == Reduction::kMin ? " (minimum)"
                                                              : " (maximum)";
      return "all-reduce" + amount(record) + how;
    }
    case FlightCall::kAllReduceDisjoint:
      return "all-reduce" + amount(record);
    case FlightCall::kAllGather:
      return "all-gather";
    case FlightCall::kSplit:
      return "split into groups";
    case FlightCall::kSplitByNode:
      return "split by node";
    case FlightCall::kShare:
      return "sharing of memory";
    case FlightCall::kSend:
      return "message" + amount(record) + " to " + partner;
    case FlightCall::kReceive:
      return "message" + amount(record) + " from " + partner;
    case FlightCall::kMessages:
      return "messages";
  }
  return "call of an unknown kind";
}

}  // namespace

const FlightGroup* FlightHeader::group(std::uint64_t id) const {
  const auto* found = std::ranges::find(groups, id, &FlightGroup::id);
  return found == groups.end() ? nullptr : found;
}

std::optional<FlightLog> read_flight_log(int file, std::uint64_t job, std::int64_t latest) {
  FlightLog log;
  if (!read_at(file, 0, log.header)) return std::nullopt;
  constexpr std::array<char, 8> kMagic = {'B', 'A', 'L', 'F', 'L', 'I', 'G', 'H'};
  if (log.header.magic != kMagic || log.header.version != 1) return std::nullopt;
  if (job != 0 && log.header.job != job) return std::nullopt;
  log.blocked = read_record(file, log.header.blocked);
  const auto last = static_cast<std::int64_t>(log.header.records);
  for (std::int64_t n = std::max<std::int64_t>(1, last - std::min(latest, kFlightRecords) + 1); n <= last; ++n) {
    if (const auto record = read_record(file, static_cast<std::uint64_t>(n))) log.latest.push_back(*record);
  }
  return log;
}

std::optional<FlightLog> read_flight_log(const std::string& path, std::uint64_t job, std::int64_t latest) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  auto log = read_flight_log(file, job, latest);
  close(file);
  return log;
}

std::string describe(const FlightRecord& record) {
  const std::string when = record.step < 0 ? " before the first step" : " in step " + std::to_string(record.step);
  return name_of(record) + when;
}

std::string rank_list(const std::vector<int>& ranks) {
  std::vector<std::string> runs;
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    if (end - i < 3) end = i + 1;
    const std::string first = std::to_string(ranks[i]);
    runs.push_back(end == i + 1 ? first : first + "-" + std::to_string(ranks[end - 1]));
    i = end;
  }
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (i > 0) text += i + 1 == runs.size() ? " and " : ", ";
    text += runs[i];
  }
  return text;
}

}  // namespace ballast
