#include "launcher/launch/supervisor.h"

#include <algorithm>
#include <csignal>
#include <numeric>
#include <utility>

#include "compute/error.h"
#include "launcher/launch/outcome.h"
#include "launcher/number_text.h"

namespace ballast {
namespace {

constexpr double kLook = 0.5;        // seconds between two looks at hosts and run folder
constexpr double kSweepPause = 1.0;  // between two looks for hosts that are waited for
constexpr int kMissedIsLost = 3;     // probes in a row
constexpr int kSignalled = 128;
constexpr int kStopped = static_cast<int>(ExitCode::kStopped);
constexpr int kHang = static_cast<int>(ExitCode::kHang);
constexpr int kHostLost = 205;  // mpirun's own code for it

int total(const std::vector<int>& workers) { return std::accumulate(workers.begin(), workers.end(), 0); }

std::string whence(std::int64_t checkpoint) {
  return checkpoint < 0 ? "from the beginning" : "from step " + std::to_string(checkpoint);
}

// A host that keeps failing has to answer longer before the job is stopped for it.
int answers_wanted(int losses) { return 1 + std::min(losses, 60); }

}  // namespace

Supervisor::Supervisor(SupervisorOptions options, Cluster& cluster)
    : options_(std::move(options)),
      cluster_(cluster),
      budget_(options_.restarts),
      losses_(options_.hosts.size(), 0),
      reached_(options_.hosts.size(), true) {}

int Supervisor::run() {
  std::optional<int> code;
  while (!code) {
    const std::optional<std::vector<int>> workers = gather();
    if (!workers) {
      code = killed_by_ != 0 ? kSignalled + killed_by_ : kStopped;
      break;
    }
    first_checkpoint_ = cluster_.progress().checkpoint;
    started_ = cluster_.now();
    cluster_.start(*workers);
    code = conclude(watch(*workers), *workers);
  }
  cluster_.sweep();
  return *code;
}

/// Waits for hosts as long as the options say. nullopt: too few, or somebody wants to stop.
std::optional<std::vector<int>> Supervisor::gather() {
  const double until = cluster_.now() + options_.wait_for_hosts;
  bool waiting = false;
  while (true) {
    reached_ = cluster_.sweep();
    const std::vector<int> workers = placed(reached_);
    const bool all = total(workers) == total(placed(std::vector<bool>(reached_.size(), true)));
    const bool late = cluster_.now() >= until;
    if (total(workers) >= options_.min_workers && (all || late)) {
      announce(workers, reached_);
      return workers;
    }
    if (late) {
      cluster_.say(incident_ + (incident_.empty() ? "" : "; ") + "the hosts that answer have room for " +
                   std::to_string(total(workers)) + " workers, fewer than " + std::to_string(options_.min_workers) +
                   ": run the same command again when more are back");
      return std::nullopt;
    }
    if (!waiting) cluster_.say(incident_ + (incident_.empty() ? "" : "; ") + "waiting for hosts");
    if (!waiting) incident_.clear();
    waiting = true;
    if (!rest(kSweepPause)) return std::nullopt;
  }
}

std::vector<int> Supervisor::placed(const std::vector<bool>& answered) const {
  std::vector<int> slots(options_.hosts.size(), 0);
  for (std::size_t i = 0; i < slots.size(); ++i) slots[i] = answered[i] ? options_.hosts[i].slots : 0;
  return spread(slots, options_.workers);
}

/// The one line of an incident: what died, which hosts are left out, what is done. A first start is none.
void Supervisor::announce(const std::vector<int>& workers, const std::vector<bool>& answered) {
  std::string line = std::exchange(incident_, "");
  for (std::size_t i = 0; i < answered.size(); ++i) {
    if (answered[i]) continue;
    line += (line.empty() ? "" : "; ") + options_.hosts[i].name + " does not answer";
    ++losses_[i];
  }
  if (line.empty()) return;
  std::vector<Host> used;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    if (workers[i] > 0) used.push_back({options_.hosts[i].name, workers[i]});
  }
  cluster_.say(line + "; going on " + whence(cluster_.progress().checkpoint) + " with " +
               std::to_string(total(workers)) + (total(workers) == 1 ? " worker (" : " workers (") + hosts_text(used) +
               ")");
}

Supervisor::End Supervisor::watch(const std::vector<int>& workers) {
  while (true) {
    const Cluster::News news = cluster_.wait(kLook);
    if (news.signal) heed(*news.signal);
    if (news.ended) return {*news.ended, news.cause};
    if (killed_by_ != 0) return {kSignalled + killed_by_, "killed"};
    if (const std::optional<End> end = lost_or_hung(workers)) return *end;
    if (wish_ != Wish::kNone) continue;
    returned_ = hosts_to_grow_by(workers);
    if (!returned_.empty()) {
      wish_ = Wish::kGrow;
      stop_asked_ = cluster_.now();
      cluster_.ask_to_stop();
    }
  }
}

/// First signal: a checkpoint, then the end. A second one of those that mean haste: the end.
void Supervisor::heed(int signal) {
  const bool again = wish_ == Wish::kStop;
  if (again && (signal == SIGINT || signal == SIGTERM)) killed_by_ = signal;
  if (again) return;
  if (wish_ == Wish::kNone) cluster_.ask_to_stop();
  wish_ = Wish::kStop;
  stop_asked_ = cluster_.now();
}

std::optional<Supervisor::End> Supervisor::lost_or_hung(const std::vector<int>& workers) {
  const double now = cluster_.now();
  const double since = now - std::max({cluster_.progress().changed, started_, stop_asked_});
  if (since >= options_.hang) return End{kHang, "no progress for " + seconds_text(since)};
  const std::vector<Cluster::Health> health = cluster_.health();
  for (std::size_t i = 0; i < workers.size(); ++i) {
    if (workers[i] == 0 || health[i].missed < kMissedIsLost) continue;
    return End{kHostLost, "three probes of " + options_.hosts[i].name + " had no answer"};
  }
  return std::nullopt;
}

/// "b is back" where hosts that were left out are, and would make the job larger; otherwise "".
std::string Supervisor::hosts_to_grow_by(const std::vector<int>& workers) {
  const std::vector<Cluster::Health> health = cluster_.health();
  std::vector<bool> there = reached_;
  std::string names;
  for (std::size_t i = 0; i < there.size(); ++i) {
    if (there[i] || health[i].answered < answers_wanted(losses_[i])) continue;
    there[i] = true;
    names += (names.empty() ? "" : "; ") + options_.hosts[i].name + " is back";
  }
  return total(placed(there)) > total(workers) ? names : "";
}

/// The exit code of the whole, or nullopt where the job is to be started again.
std::optional<int> Supervisor::conclude(const End& end, const std::vector<int>& workers) {
  const Wish wish = std::exchange(wish_, Wish::kNone);
  const Verdict verdict = verdict_of(end.code);
  if (verdict == Verdict::kDone) return 0;
  if (killed_by_ != 0) return kSignalled + killed_by_;
  if (verdict == Verdict::kFinal) {
    cluster_.say(end.cause + "; this is not tried again");
    return end.code;
  }
  // Workers that had not yet begun to listen died of the request itself; the last checkpoint is as good.
  const bool asked = wish != Wish::kNone;
  const bool obeyed = verdict == Verdict::kStopped || (asked && end.code == kSignalled + SIGUSR1);
  if (obeyed && wish != Wish::kGrow) return kStopped;
  if (wish == Wish::kStop) {
    cluster_.say(end.cause + "; not started again, for it was asked to stop");
    return end.code;
  }
  if (cluster_.progress().checkpoint > first_checkpoint_) {
    budget_.progressed();
    for (std::size_t i = 0; i < workers.size(); ++i) losses_[i] = workers[i] > 0 ? 0 : losses_[i];
  }
  if (wish == Wish::kGrow && obeyed) {
    incident_ = returned_;
    return std::nullopt;
  }
  return spend_restart(end);
}

std::optional<int> Supervisor::spend_restart(const End& end) {
  if (!budget_.spend()) {
    cluster_.say(end.cause + "; it came to no new checkpoint in " + std::to_string(budget_.limit() + 1) +
                 " starts: giving up");
    return end.code;
  }
  const double pause = pause_before(budget_.used());
  if (pause == 0.0) {
    incident_ = end.cause;
    return std::nullopt;
  }
  cluster_.say(end.cause + "; going on " + whence(cluster_.progress().checkpoint) + " after " + seconds_text(pause) +
               ", restart " + std::to_string(budget_.used()) + " of " + std::to_string(budget_.limit()) +
               " without a new checkpoint");
  cluster_.sweep();
  if (rest(pause)) return std::nullopt;
  cluster_.say("asked to stop before the job was started again");
  return killed_by_ != 0 ? kSignalled + killed_by_ : kStopped;
}

/// Sleeps; false as soon as somebody wants the job to stop.
bool Supervisor::rest(double seconds) {
  const double until = cluster_.now() + seconds;
  while (cluster_.now() < until) {
    if (cluster_.wait(until - cluster_.now()).signal) return false;
  }
  return true;
}

}  // namespace ballast
