#include "comm/mpi/abort.h"

#include <dlfcn.h>
#include <mpi.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "compute/error.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;
// No communicator of ours is MPI_COMM_WORLD itself, so this tag there is free.
constexpr int kFarewellTag = 4711;
constexpr auto kFarewellTime = std::chrono::milliseconds(200);  ///< rank 0 helps its messages on their way
constexpr auto kListeningTime = std::chrono::milliseconds(500);
constexpr auto kDyingTime = std::chrono::seconds(10);  ///< the longest that rank 0's abort may take to reach us
constexpr auto kNap = std::chrono::milliseconds(1);

std::string line_of(const std::exception& error, int rank) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  std::string line = "ballast: [rank " + std::to_string(rank) + " on " + host.data() + "] " + error.what();
  const auto* ours = dynamic_cast<const Error*>(&error);
  if (ours != nullptr && ours->code() == ExitCode::kInternal) {
    line += std::string(" (") + ours->where().file_name() + ":" + std::to_string(ours->where().line()) + ")";
  }
  return line + "\n";
}

int exit_code_of(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  return static_cast<int>(ours == nullptr ? ExitCode::kInternal : ours->code());
}

/// FNV-1a: one number that all workers compute alike for one text.
std::uint64_t digest_of(std::string_view text) {
  std::uint64_t digest = 0xcbf29ce484222325U;
  for (const char c : text) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return digest;
}

void print(const std::string& line) {
  std::fflush(stdout);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

void tell_others(std::uint64_t digest) {
  int workers = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &workers);
  std::vector<MPI_Request> requests(static_cast<std::size_t>(workers - 1), MPI_REQUEST_NULL);
  for (int to = 1; to < workers; ++to) {
    MPI_Isend(&digest, 1, MPI_UINT64_T, to, kFarewellTag, MPI_COMM_WORLD, &requests[static_cast<std::size_t>(to - 1)]);
  }
  const auto until = Clock::now() + kFarewellTime;
  // Done here is not yet on the wire, so no early return.
  for (int done = 0; workers > 1 && Clock::now() < until; std::this_thread::sleep_for(kNap)) {
    MPI_Testall(workers - 1, requests.data(), &done, MPI_STATUSES_IGNORE);
  }
}

bool told_by_rank_0(std::uint64_t digest) {
  const auto until = Clock::now() + kListeningTime;
  for (; Clock::now() < until; std::this_thread::sleep_for(kNap)) {
    int there = 0;
    if (MPI_Iprobe(0, kFarewellTag, MPI_COMM_WORLD, &there, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
    if (there == 0) continue;
    std::uint64_t told = 0;
    MPI_Recv(&told, 1, MPI_UINT64_T, 0, kFarewellTag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return told == digest;
  }
  return false;
}

int say_nothing(const char* /*file*/, const char* /*topic*/, bool /*header*/, ...) { return 0; }

/// Open MPI 4 follows MPI_Abort with eight lines that hide ours. Its help texts go through one function pointer.
void silence_help_texts() {
  using ShowHelp = int (*)(const char*, const char*, bool, ...);
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> version{};
  int length = 0;
  MPI_Get_library_version(version.data(), &length);
  if (!std::string_view(version.data()).starts_with("Open MPI v4.")) return;
  if (auto* show_help = static_cast<ShowHelp*>(dlsym(RTLD_DEFAULT, "opal_show_help"))) *show_help = &say_nothing;
}

[[noreturn]] void abort_mpi(int exit_code) {
  silence_help_texts();
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace

void end_job(const std::exception& error) {
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const std::uint64_t digest = digest_of(error.what());
  if (rank != 0 && told_by_rank_0(digest)) {
    std::this_thread::sleep_for(kDyingTime);
  } else {
    print(line_of(error, rank));
    if (rank == 0) tell_others(digest);
  }
  abort_mpi(exit_code_of(error));
}

void end_job_from_terminate() {
  int alive = 0;
  int finished = 0;
  MPI_Initialized(&alive);
  MPI_Finalized(&finished);
  int rank = 0;
  if (alive != 0 && finished == 0) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  int exit_code = static_cast<int>(ExitCode::kInternal);
  try {
    if (std::current_exception() == nullptr) throw Error("std::terminate was called without an exception");
    throw;
  } catch (const std::exception& error) {
    print(line_of(error, rank));
    exit_code = exit_code_of(error);
  } catch (...) {
    print(line_of(Error("an exception of an unknown type was not caught"), rank));
  }
  if (alive == 0 || finished != 0) std::_Exit(exit_code);
  abort_mpi(exit_code);
}

}  // namespace ballast
