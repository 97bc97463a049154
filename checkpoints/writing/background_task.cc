#include "checkpoints/writing/background_task.h"

#include <chrono>
#include <system_error>
#include <utility>

namespace ballast {

void BackgroundTask::start(const Work& work, bool background) {
  wait();
  report_ = {};
  done_.store(false, std::memory_order_relaxed);
  if (background) {
    try {
      thread_ = std::jthread([this, work](const std::stop_token& stop) { run(work, stop); });
      return;
    } catch (const std::system_error&) {
      // Out of threads: the work is done in front.
    }
  }
  run(work, {});
}

void BackgroundTask::wait() {
  if (thread_.joinable()) thread_.join();
}

void BackgroundTask::run(const Work& work, const std::stop_token& stop) {
  const auto begin = std::chrono::steady_clock::now();
  try {
    report_.result = work(stop);
  } catch (const std::exception& error) {
    report_.error = error.what();
    if (report_.error.empty()) report_.error = "failed without saying why";
  } catch (...) {
    report_.error = "failed without saying why";
  }
  report_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  done_.store(true, std::memory_order_release);
}

}  // namespace ballast
