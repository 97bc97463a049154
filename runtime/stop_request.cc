#include "runtime/stop_request.h"

#include <array>
#include <atomic>
#include <csignal>

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

}  // namespace

StopSignals::StopSignals() {
  stop_requested = false;
  install(on_signal);
}

StopSignals::~StopSignals() { install(SIG_DFL); }

bool StopSignals::requested() const { return stop_requested; }

}  // namespace ballast
