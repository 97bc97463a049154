#include "runtime/supervision.h"

#include <chrono>
#include <filesystem>
#include <span>
#include <system_error>

#include "runtime/supervision/watchdog.h"

namespace ballast {
namespace {

/// Rank 0's clock: tells the files of this start from those of others. The folder is there when this returns.
std::uint64_t begin_job(Communicator& world, const std::string& folder) {
  std::uint64_t job = 0;
  if (world.rank() == 0) {
    std::error_code error;  // the recorder's file will say it
    if (!folder.empty()) std::filesystem::create_directories(folder, error);
    job =
        static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch() / std::chrono::milliseconds(1));
  }
  world.broadcast(std::as_writable_bytes(std::span(&job, 1)), 0);
  return job;
}

}  // namespace

Supervision::Supervision(Communicator& world, const SupervisionOptions& options) {
  const std::uint64_t job = begin_job(world, options.folder);
  recorder_ = std::make_unique<FlightRecorder>(
      FlightRecorderOptions{.path = options.folder.empty() ? "" : flight_file(options.folder, world.rank()),
                            .job = job,
                            .rank = world.rank(),
                            .workers = world.size()});
  for (const std::string& problem : all_gather_strings(world, recorder_->problem())) {
    if (problem_.empty()) problem_ = problem;
  }
  recorder_->enter("start");
  recorder_->allow(kSlowPatience);
  world_ = std::make_unique<WatchedCommunicator>(world, *recorder_, options.collectives);
  if (options.timeout_seconds <= 0.0 || world.size() == 1) return;
  watchdog_ = std::make_unique<Watchdog>(
      *recorder_,
      WatchdogOptions{.timeout_seconds = options.timeout_seconds,
                      .folder = problem_.empty() ? options.folder : "",
                      .job = job,
                      .rank = world.rank(),
                      .workers = world.size(),
                      .warn = [rank = world.rank()](const std::string& text) { say(rank, "warning: " + text); },
                      .end = [rank = world.rank()](const Error& error) { end_process(rank, error); }});
}

Supervision::~Supervision() { recorder_->enter("the end"); }

}  // namespace ballast
