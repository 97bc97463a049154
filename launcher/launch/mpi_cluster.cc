#include "launcher/launch/mpi_cluster.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <thread>

#include "checkpoints/checkpoint.h"
#include "compute/error.h"
#include "launcher/config.h"
#include "launcher/failure.h"
#include "launcher/launch/outcome.h"

namespace ballast {
namespace {

constexpr std::array kStopSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
constexpr auto kNap = std::chrono::milliseconds(5);
constexpr double kTick = 0.2;           // seconds between two looks at what has no file descriptor
constexpr double kCountEvery = 1.0;     // seconds between two looks for the workers of this machine
constexpr double kHostLostGrace = 0.5;  // for mpirun to end by itself after it has said why
constexpr double kHalfDeadGrace = 6.0;  // mpirun takes four to end a job that has lost a worker
constexpr int kHostLost = 205;

sigset_t awaited_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kStopSignals) sigaddset(&set, signal);
  sigaddset(&set, SIGCHLD);
  return set;
}

std::string stamp(const std::string& path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) return "absent";
  return std::to_string(status.st_size) + '/' + std::to_string(status.st_mtim.tv_sec) + '.' +
         std::to_string(status.st_mtim.tv_nsec);
}

std::string time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc = {};
  gmtime_r(&now, &utc);
  std::array<char, 32> text = {};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

std::vector<bool> on_this_machine(const std::vector<Host>& hosts) {
  std::vector<bool> here;
  here.reserve(hosts.size());
  for (const Host& host : hosts) here.push_back(is_this_machine(host.name));
  return here;
}

}  // namespace

MpiCluster::MpiCluster(MpiClusterOptions options)
    : options_(std::move(options)),
      here_(on_this_machine(options_.hosts)),
      probes_(children_),
      health_(options_.hosts.size()) {
  const sigset_t set = awaited_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (signals_ < 0) throw Error("launch: signals cannot be awaited here (signalfd)");
}

// The signals stay blocked: a late one, sent while launch ends, must not undo its exit code.
MpiCluster::~MpiCluster() {
  try {
    children_.kill_all();
  } catch (const Error& error) {
    print_failure(error);
  }
  if (stderr_ >= 0) close(stderr_);
  close(signals_);
}

std::vector<std::vector<std::string>> MpiCluster::on_every_host(const std::string& script, bool here) const {
  std::vector<std::vector<std::string>> commands;
  for (std::size_t i = 0; i < options_.hosts.size(); ++i) {
    const bool needless = here_[i] && !here;
    commands.push_back(needless ? std::vector<std::string>{}
                                : remote_command(here_[i] ? "" : options_.mpi.agent, options_.hosts[i].name, script));
  }
  return commands;
}

std::vector<bool> MpiCluster::sweep() {
  children_.kill_all();
  forget_job();
  HostCommands brooms(children_);
  std::vector<std::vector<std::string>> commands = on_every_host(sweep_script(options_.mpi.mark), true);
  commands.push_back(remote_command("", "", sweep_script(options_.mpi.mark)));  // mpirun's own files are here
  brooms.start(commands, now() + options_.answer_within);
  std::optional<std::vector<bool>> answered;
  while (!(answered = brooms.poll(now()))) std::this_thread::sleep_for(kNap);
  answered->pop_back();
  return *answered;
}

void MpiCluster::forget_job() {
  relay();  // what the dead have still said
  if (stderr_ >= 0) close(stderr_);
  stderr_ = -1;
  mpirun_ = 0;
  probes_.forget();
  doomed_since_ = -1.0;
  most_workers_here_ = 0;
}

void MpiCluster::start(const std::vector<int>& workers) {
  std::vector<Host> used;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    if (workers[i] > 0) used.push_back({options_.hosts[i].name, workers[i]});
  }
  MpiOptions mpi = options_.mpi;
  if (started_before_) mpi.worker.insert(mpi.worker.end(), options_.on_restart.begin(), options_.on_restart.end());
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw Error("launch: there is no pipe left");
  stderr_ = ends[0];
  fcntl(stderr_, F_SETFL, O_NONBLOCK);  // NOLINT(cppcoreguidelines-pro-type-vararg)
  testimony_ = {};
  mpirun_ = children_.start(mpirun_command(mpi, used, process_environment(), geteuid() == 0), ends[1], SIGTERM);
  close(ends[1]);
  started_before_ = true;
  health_.assign(options_.hosts.size(), {});
  next_probe_ = now() + options_.probe_every;
}

Cluster::News MpiCluster::wait(double seconds) {
  const double until = now() + seconds;
  while (true) {
    News news;
    relay();
    probe();
    signalfd_siginfo signal = {};
    while (!news.signal && read(signals_, &signal, sizeof signal) == sizeof signal) {
      if (signal.ssi_signo != SIGCHLD) news.signal = static_cast<int>(signal.ssi_signo);
    }
    if (const std::optional<Children::End> end = end_of_job()) {
      relay();
      news.ended = end->code;
      news.cause = testimony_.cause(end->code, end->by_signal);
    }
    const double left = until - now();
    if (news.signal || news.ended || left <= 0.0) return news;
    std::array<pollfd, 2> files = {{{signals_, POLLIN, 0}, {stderr_, POLLIN, 0}}};
    ::poll(files.data(), files.size(), static_cast<int>(1e3 * std::min(left, kTick)) + 1);
  }
}

/// mpirun's end, or that it will not come to one although it should.
std::optional<Children::End> MpiCluster::end_of_job() {
  if (mpirun_ == 0) return std::nullopt;
  if (const std::optional<Children::End> end = children_.ended(mpirun_)) {
    mpirun_ = 0;
    return end;
  }
  const bool lost = testimony_.host_lost();
  const bool doomed = lost || half_dead();
  if (!doomed) doomed_since_ = -1.0;
  if (doomed && doomed_since_ < 0.0) doomed_since_ = now();
  if (!doomed || now() - doomed_since_ < (lost ? kHostLostGrace : kHalfDeadGrace)) return std::nullopt;
  if (lost) return Children::End{kHostLost, false};
  testimony_.hear("ballast: a worker on this machine is gone, and mpirun does not end\n");
  return Children::End{static_cast<int>(ExitCode::kInternal), false};
}

/// Whether workers of this machine are gone. Open MPI 4's mpirun can miss it when one dies while it connects.
bool MpiCluster::half_dead() {
  if (now() < next_count_) return doomed_since_ >= 0.0;
  next_count_ = now() + kCountEvery;
  const int alive = count_own_kind(mpirun_);
  most_workers_here_ = std::max(most_workers_here_, alive);
  return alive < most_workers_here_;
}

// stderr of the job, as it comes; a write that fails loses it, as it would without us.
void MpiCluster::relay() {
  std::array<char, 4096> buffer{};
  ssize_t size = 0;
  while (stderr_ >= 0 && (size = read(stderr_, buffer.data(), buffer.size())) > 0) {
    testimony_.hear(std::string(buffer.data(), static_cast<std::size_t>(size)));
    fwrite(buffer.data(), 1, static_cast<std::size_t>(size), stderr);
  }
  if (stderr_ >= 0 && size == 0) {
    close(stderr_);
    stderr_ = -1;
  }
}

void MpiCluster::probe() {
  if (mpirun_ == 0) return;
  if (!probes_.busy()) {
    if (now() < next_probe_) return;
    next_probe_ = now() + options_.probe_every;
    probes_.start(on_every_host("true", false), now() + options_.answer_within);
  }
  const std::optional<std::vector<bool>> answered = probes_.poll(now());
  if (!answered) return;
  for (std::size_t i = 0; i < health_.size(); ++i) {
    Health& host = health_[i];
    host = (*answered)[i] ? Health{host.answered + 1, 0} : Health{0, host.missed + 1};
  }
}

void MpiCluster::ask_to_stop() {
  if (mpirun_ != 0) kill(mpirun_, SIGUSR1);
}

Cluster::Progress MpiCluster::progress() {
  const std::vector<std::int64_t> steps = list_checkpoints(real_file_system(), options_.run_folder + "/checkpoints");
  const std::int64_t newest = steps.empty() ? -1 : steps.front();
  const std::string seen = stamp(options_.run_folder + "/metrics.jsonl") + ' ' +
                           stamp(options_.run_folder + "/config.toml") + ' ' + std::to_string(newest);
  if (seen != seen_) changed_ = now();
  seen_ = seen;
  return {newest, changed_};
}

double MpiCluster::now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void MpiCluster::say(const std::string& line) {
  const std::string time = time_text();
  std::fputs(("ballast: launch: " + time + ' ' + line + '\n').c_str(), stderr);
  std::ofstream log(options_.run_folder + "/log", std::ios::app);
  log << (time + " launch: " + line + '\n') << std::flush;
}

}  // namespace ballast
