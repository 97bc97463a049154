#include "runtime/supervision/hang_analysis.h"

#include <algorithm>
#include <map>

namespace ballast {
namespace {

double seconds_between(std::int64_t begin, std::int64_t end) { return static_cast<double>(end - begin) * 1e-9; }

bool is_message(const FlightRecord& record) { return record.call >= FlightCall::kSend; }

bool same_wait(const FlightRecord& a, const FlightRecord& b) {
  if (is_message(a) || is_message(b)) return a.call == b.call && a.partner == b.partner;
  return a.group == b.group && a.sequence == b.sequence;
}

std::string described(const FlightRecord& wait) {
  if (wait.sequence == 0) return describe(wait);
  return describe(wait) + " (number " + std::to_string(wait.sequence) + " of its group)";
}

class Analysis {
 public:
  Analysis(const std::vector<WorkerFacts>& workers, std::int64_t now) : workers_(workers), now_(now) {}

  [[nodiscard]] HangVerdict verdict() const {
    for (const auto& suspects : {not_running(), absent(), silent()}) {
      if (!suspects.empty()) return accuse(suspects);
    }
    return {.code = ExitCode::kDesync, .suspects = {}, .text = "the workers wait for each other: " + all_waits()};
  }

 private:
  [[nodiscard]] int count() const { return static_cast<int>(workers_.size()); }
  [[nodiscard]] const WorkerFacts& worker(int rank) const { return workers_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] const FlightRecord* wait_of(int rank) const {
    const auto& log = worker(rank).log;
    return log && log->blocked ? &*log->blocked : nullptr;
  }
  [[nodiscard]] std::int64_t since(int rank) const { return worker(rank).log->header.wall(wait_of(rank)->blocked_ns); }

  template <typename Condition>
  [[nodiscard]] std::vector<int> ranks_where(const Condition& condition) const {
    std::vector<int> ranks;
    for (int rank = 0; rank < count(); ++rank) {
      if (condition(rank)) ranks.push_back(rank);
    }
    return ranks;
  }

  [[nodiscard]] std::vector<int> not_running() const {
    return ranks_where([&](int rank) {
      const ProcessState state = worker(rank).process;
      return state == ProcessState::kStopped || state == ProcessState::kDead;
    });
  }
  [[nodiscard]] std::vector<int> silent() const {
    return ranks_where([&](int rank) { return !worker(rank).log || !worker(rank).answers; });
  }
  /// Workers that somebody waits for, and that wait for nobody.
  [[nodiscard]] std::vector<int> absent() const {
    return ranks_where([&](int rank) {
      if (wait_of(rank) != nullptr || !worker(rank).log) return false;
      for (int other = 0; other < count(); ++other) {
        const FlightRecord* wait = wait_of(other);
        if (wait != nullptr && lacks(*wait, rank)) return true;
      }
      return false;
    });
  }
  /// Whether the call that `wait` stands for cannot end because of `rank`.
  [[nodiscard]] bool lacks(const FlightRecord& wait, int rank) const {
    if (is_message(wait)) return wait.partner == rank;
    const auto& log = worker(rank).log;
    if (!log) return true;
    const FlightGroup* group = log->header.group(wait.group);
    return group != nullptr && group->entered < wait.sequence;
  }
  [[nodiscard]] bool takes_part(const FlightRecord& wait, int rank) const {
    if (is_message(wait)) return wait.partner == rank;
    const auto& log = worker(rank).log;
    return !log || log->header.group(wait.group) != nullptr;
  }

  /// Of those who wait for a suspect the one that has waited longest; any, if none does.
  [[nodiscard]] int first_victim(const std::vector<int>& suspects) const {
    int first = -1;
    bool first_concerned = false;
    for (int rank = 0; rank < count(); ++rank) {
      if (wait_of(rank) == nullptr || std::ranges::binary_search(suspects, rank)) continue;
      const bool concerned =
          std::ranges::any_of(suspects, [&](int suspect) { return takes_part(*wait_of(rank), suspect); });
      const bool better = first < 0 || (concerned != first_concerned ? concerned : since(rank) < since(first));
      if (better) {
        first = rank;
        first_concerned = concerned;
      }
    }
    return first;
  }

  [[nodiscard]] HangVerdict accuse(const std::vector<int>& suspects) const {
    constexpr std::size_t kNamed = 4;
    std::string text;
    for (std::size_t i = 0; i < std::min(kNamed, suspects.size()); ++i) {
      if (i > 0) text += ", ";
      text += describe_worker(worker(suspects[i]), suspects[i], now_);
    }
    if (suspects.size() > kNamed) text += " and " + std::to_string(suspects.size() - kNamed) + " more";
    const int victim = first_victim(suspects);
    if (victim < 0) return {.suspects = suspects, .text = "no progress: " + text};
    const FlightRecord& wait = *wait_of(victim);
    const bool entered = std::ranges::none_of(suspects, [&](int suspect) { return lacks(wait, suspect); });
    const char* does = is_message(wait)
                           ? (wait.call == FlightCall::kSend ? " does not receive the " : " does not send the ")
                       : entered ? " does not go on in the "
                                 : " has not entered the ";
    const auto waiting = ranks_where([&](int rank) {
      return wait_of(rank) != nullptr && !std::ranges::binary_search(suspects, rank) && same_wait(*wait_of(rank), wait);
    });
    text =
        "no progress for " + elapsed_text(seconds_between(since(victim), now_)) + ": " + text + does + described(wait);
    text += "; " + rank_list(waiting) + (waiting.size() == 1 ? " waits for it" : " wait for it");
    return {.suspects = suspects, .text = text};
  }

  [[nodiscard]] std::string all_waits() const {
    std::map<std::string, std::vector<int>> waits;
    for (int rank = 0; rank < count(); ++rank) {
      waits[described(*wait_of(rank))].push_back(rank);
    }
    std::string text;
    for (const auto& [wait, ranks] : waits) {
      if (!text.empty()) text += ", ";
      text += rank_list(ranks) + " in " + wait;
    }
    return text;
  }

  const std::vector<WorkerFacts>& workers_;
  std::int64_t now_;
};

}  // namespace

std::string elapsed_text(double seconds) {
  const auto tenths = static_cast<std::int64_t>(10.0 * std::max(seconds, 0.0));
  const std::string whole = std::to_string(tenths / 10);
  return (tenths >= 100 ? whole : whole + "." + std::to_string(tenths % 10)) + " s";
}

std::string describe_worker(const WorkerFacts& worker, int rank, std::int64_t now) {
  const std::string name = "rank " + std::to_string(rank);
  if (!worker.log) return name + " (it left no record)";
  const FlightHeader& header = worker.log->header;
  std::string text = name + " on " + header.host.data() + " (";
  if (worker.process == ProcessState::kStopped) {
    text += "its process is stopped, by SIGSTOP or a debugger; ";
  } else if (worker.process == ProcessState::kDead) {
    text += "its process is gone; ";
  } else if (!worker.answers) {
    text += "its process or host does not answer; ";
  }
  text += elapsed_text(seconds_between(header.wall(header.progress_ns), now)) + " ago in phase " + header.phase.data();
  if (header.step >= 0) text += " of step " + std::to_string(header.step);
  return text + ")";
}

HangVerdict explain_hang(const std::vector<WorkerFacts>& workers, std::int64_t now) {
  return Analysis(workers, now).verdict();
}

}  // namespace ballast
