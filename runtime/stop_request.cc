#include "runtime/stop_request.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <stop_token>

namespace ballast {
namespace {

constexpr std::array kSignals = {SIGUSR1, SIGUSR2, SIGTERM, SIGINT};

// A signal handler can reach nothing but static memory.
std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_signal(int signal) {
  const bool again = stop_requested.exchange(true);
  if (again && (signal == SIGTERM || signal == SIGINT)) {
    std::signal(signal, SIG_DFL);  // NOLINT(cert-err33-c)
    std::raise(signal);            // NOLINT(cert-err33-c)
  }
}

void install(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : kSignals) sigaction(signal, &action, nullptr);
}

sigset_t signal_set() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : kSignals) sigaddset(&set, signal);
  return set;
}

void take_signals(const std::stop_token& stop) {
  const sigset_t set = signal_set();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  std::mutex mutex;
  std::condition_variable_any end;
  std::unique_lock lock(mutex);
  end.wait(lock, stop, [] { return false; });
}

}  // namespace

StopSignals::StopSignals() {
  stop_requested = false;
  install(on_signal);
  const sigset_t set = signal_set();
  pthread_sigmask(SIG_BLOCK, &set, &mask_before_);
  taker_ = std::jthread(take_signals);
}

StopSignals::~StopSignals() {
  taker_.request_stop();
  taker_.join();
  // The handlers stay: a late signal, sent while the job finishes, must not undo its exit code.
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

bool StopSignals::requested() const { return stop_requested; }

}  // namespace ballast
