#include "runtime/supervision/watchdog.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <utility>

namespace ballast {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr auto kRound = milliseconds(200);
constexpr double kSleptSeconds =
    1.0;  ///< a round that comes so late, or a quarter of the limit: the process was stopped
constexpr int kRoundsPerFileCheck = 5;            ///< a file system may be slow and far away
constexpr auto kReportTime = milliseconds(3000);  ///< for the others to see the file and to write their reports
constexpr auto kExaminationTime = milliseconds(15000);
constexpr std::int64_t kReportedRecords = 64;

/// False when the watchdog is to stop.
bool nap(const std::stop_token& stop, milliseconds time) {
  std::mutex mutex;
  std::condition_variable_any end;
  std::unique_lock lock(mutex);
  end.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

std::int64_t wall_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string digits(int number) {
  std::string text = std::to_string(number);
  return std::string(5 - std::min<std::size_t>(5, text.size()), '0') + text;
}

double seconds_since(std::int64_t moment_ns) { return static_cast<double>(monotonic_ns() - moment_ns) * 1e-9; }

std::string line_of(const FlightRecord& record, const FlightHeader& header) {
  const auto seconds = [&](std::int64_t moment) { return static_cast<double>(moment - header.anchor_ns) * 1e-9; };
  std::string times = " posted at " + std::to_string(seconds(record.posted_ns)) + " s";
  if (record.blocked_ns != 0) times += ", waited for from " + std::to_string(seconds(record.blocked_ns)) + " s";
  times += record.done_ns != 0 ? ", done at " + std::to_string(seconds(record.done_ns)) + " s" : ", not done";
  return "  " + std::to_string(record.number) + ": " + describe(record) + ", phase " + record.phase.data() + "," +
         times + "\n";
}

bool can_report(const WorkerFacts& worker) {
  return worker.process != ProcessState::kStopped && worker.process != ProcessState::kDead;
}

}  // namespace

std::string flight_file(const std::string& folder, int rank) { return folder + "/rank-" + digits(rank) + ".bin"; }

void say(int rank, const std::string& text) {
  const std::string line =
      "ballast: [rank " + std::to_string(rank) + " on " + host_of_this_process() + "] " + text + "\n";
  static_cast<void>(!write(STDERR_FILENO, line.data(), line.size()));  // stdio's locks may be held by who hangs
}

void end_process(int rank, const Error& error) {
  say(rank, error.what());
  _exit(static_cast<int>(error.code()));
}

Watchdog::Watchdog(FlightRecorder& recorder, WatchdogOptions options)
    : recorder_(recorder),
      options_(std::move(options)),
      thread_([this](const std::stop_token& stop) { watch(stop); }) {}

std::string Watchdog::hang_file() const { return options_.folder + "/hang-" + std::to_string(options_.job) + ".txt"; }

std::string Watchdog::report_file(int rank) const {
  return options_.folder + "/hang-" + std::to_string(options_.job) + "-rank-" + digits(rank) + ".txt";
}

void Watchdog::watch(const std::stop_token& stop) {
  sigset_t all;  // the worker's signals are not for this thread
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::int64_t last_round = monotonic_ns();
  do {
    if (seconds_since(last_round) > std::max(kSleptSeconds, options_.timeout_seconds / 4))
      awake_since_ = monotonic_ns();
    recorder_.tell_alive();
    look(stop);
    look_for_straggler();
    last_round = monotonic_ns();
  } while (nap(stop, kRound));
}

double Watchdog::waited(const FlightRecord& record) const {
  return seconds_since(std::max(record.blocked_ns, awake_since_));
}

void Watchdog::look(const std::stop_token& stop) {
  const auto log = recorder_.log(0);
  if (!log) return;
  const double limit = log->blocked ? options_.timeout_seconds * log->blocked->patience : 0.0;
  if (log->blocked && waited(*log->blocked) > limit) {
    examine(stop, log->blocked->number);
  } else if (++round_ % kRoundsPerFileCheck == 0 && !options_.folder.empty() &&
             access(hang_file().c_str(), F_OK) == 0) {
    assist(stop);
  } else if (log->blocked && 2 * waited(*log->blocked) > limit && log->blocked->number != warned_) {
    warn_about(*log);
  }
}

// One of rank 0 and rank 1 sees every hang: enough to speak once, and for thousands of workers to read few files.
void Watchdog::warn_about(const FlightLog& log) {
  warned_ = log.blocked->number;
  const auto first =
      options_.rank == 1 ? read_flight_log(flight_file(options_.folder, 0), options_.job, 0) : std::nullopt;
  if (options_.rank > 1 || (first && first->blocked)) return;
  const std::string text = options_.folder.empty()
                               ? "slow: rank " + std::to_string(options_.rank) + " waits in " + describe(*log.blocked)
                               : explain_hang(facts(), wall_now()).text;
  const double limit = options_.timeout_seconds * log.blocked->patience;
  options_.warn(text + "; the job ends when that lasts " + elapsed_text(limit) + " (watch.timeout)");
}

void Watchdog::look_for_straggler() {
  if (seconds_since(straggler_look_ns_) < options_.straggler_seconds || options_.folder.empty()) return;
  straggler_look_ns_ = monotonic_ns();
  recorder_.flush_header();
  if (options_.rank != 0) return;
  const std::string text = stragglers_.look(facts());
  if (!text.empty()) options_.warn("in the last " + elapsed_text(options_.straggler_seconds) + " " + text);
}

void Watchdog::examine(const std::stop_token& stop, std::uint64_t blocked) {
  if (options_.folder.empty()) return end_alone("there is no run folder that the workers share");
  const int file = open(hang_file().c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
  if (file < 0) return errno == EEXIST ? assist(stop) : end_alone("the run folder cannot be written");
  close(file);
  write_report();
  const auto until = Clock::now() + kReportTime;
  while (Clock::now() < until && !all_reported()) {
    recorder_.tell_alive();
    if (!nap(stop, milliseconds(100))) break;
  }
  const auto log = recorder_.log(0);
  if (stop.stop_requested() || !log || !log->blocked || log->blocked->number != blocked) {
    std::filesystem::remove(hang_file());
    options_.warn("the workers waited for longer than watch.timeout, and go on now");
    return;
  }
  std::vector<WorkerFacts> workers = facts();
  for (int rank = 0; rank < options_.workers; ++rank) {
    workers[static_cast<std::size_t>(rank)].answers = access(report_file(rank).c_str(), F_OK) == 0;
  }
  conclude(explain_hang(workers, wall_now()), workers);
}

void Watchdog::conclude(const HangVerdict& verdict, const std::vector<WorkerFacts>& workers) {
  const std::string text = verdict.text + ". Start again from the last checkpoint; " + hang_file() + " says more";
  std::ofstream file(hang_file());
  file << text << "\n\n";
  for (int rank = 0; rank < options_.workers; ++rank) {
    const WorkerFacts& worker = workers[static_cast<std::size_t>(rank)];
    file << describe_worker(worker, rank, wall_now());
    if (worker.log && worker.log->blocked) file << " waits in " << describe(*worker.log->blocked);
    file << "\n";
  }
  file.close();
  options_.end(Error(text, verdict.code));
}

void Watchdog::assist(const std::stop_token& stop) {
  write_report();
  const auto until = Clock::now() + kExaminationTime;
  while (access(hang_file().c_str(), F_OK) == 0) {
    recorder_.tell_alive();
    if (Clock::now() > until) return end_alone("the worker that examines the hang did not finish");
    if (!nap(stop, kRound)) return;
  }
}

void Watchdog::end_alone(const char* why) {
  const auto log = recorder_.log(0);
  std::string text = "no progress";
  if (log && log->blocked) {
    text += " for " + elapsed_text(waited(*log->blocked)) + " in " + describe(*log->blocked) + " (number " +
            std::to_string(log->blocked->sequence) + " of its group)";
  }
  options_.end(
      Error(text + "; " + why + ", so nobody can say which worker is missing. Start again from the last checkpoint",
            ExitCode::kHang));
}

void Watchdog::write_report() const {
  recorder_.tell_alive();
  recorder_.flush();
  const auto log = recorder_.log(kReportedRecords);
  if (!log) return;
  std::ofstream file(report_file(options_.rank));
  file << describe_worker({log, ProcessState::kAlive}, options_.rank, wall_now()) << "\n\n"
       << threads_of_this_process() << "\nthe latest collectives and messages, seconds since the start:\n";
  for (const FlightRecord& record : log->latest) file << line_of(record, log->header);
}

bool Watchdog::all_reported() const {
  for (int rank = 0; rank < options_.workers; ++rank) {
    if (access(report_file(rank).c_str(), F_OK) != 0 && can_report(facts_of(rank))) return false;
  }
  return true;
}

std::vector<WorkerFacts> Watchdog::facts() const {
  std::vector<WorkerFacts> workers;
  workers.reserve(static_cast<std::size_t>(options_.workers));
  for (int rank = 0; rank < options_.workers; ++rank) workers.push_back(facts_of(rank));
  return workers;
}

WorkerFacts Watchdog::facts_of(int rank) const {
  WorkerFacts facts{.log = read_flight_log(flight_file(options_.folder, rank), options_.job, 0)};
  if (facts.log) facts.process = process_state(facts.log->header.host.data(), facts.log->header.process);
  return facts;
}

}  // namespace ballast
