#include "comm/mpi/request.h"

#include <sched.h>

#include <chrono>
#include <thread>

#include "comm/mpi/check.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kEager = std::chrono::milliseconds(1);
constexpr auto kNap = std::chrono::microseconds(50);
constexpr auto kGiveUp = std::chrono::seconds(1);

bool all_done(std::vector<MPI_Request>& requests) {
  int done = 0;
  check_mpi(MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE));
  return done != 0;
}

}  // namespace

void wait_for(std::vector<MPI_Request>& requests, Patience patience) {
  if (all_done(requests)) return;
  const auto eager_until = Clock::now() + kEager;
  while (!all_done(requests)) {
    if (patience == Patience::kYield || Clock::now() < eager_until) {
      sched_yield();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
}

MpiRequest::MpiRequest(std::vector<MPI_Request> pieces, Patience patience)
    : pieces_(std::move(pieces)), patience_(patience) {}

MpiRequest::~MpiRequest() {
  try {
    if (std::uncaught_exceptions() == exceptions_) {
      wait();
      return;
    }
    for (MPI_Request& piece : pieces_) {
      if (piece != MPI_REQUEST_NULL) MPI_Cancel(&piece);
    }
    const auto give_up = Clock::now() + kGiveUp;
    while (!all_done(pieces_) && Clock::now() < give_up) std::this_thread::sleep_for(kNap);
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the job ends, with the error that is under way
  }
}

bool MpiRequest::test() { return all_done(pieces_); }

}  // namespace ballast
