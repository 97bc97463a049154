// NCCL's communicators over MPI. MPI is called only by the thread that made the communicator: programs may initialise
// it with MPI_THREAD_FUNNELED.
#pragma once

#include <mpi.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace cuda_emulator {

/// How long ranks wait for each other where a GPU would hang for ever.
constexpr std::chrono::seconds kRankPatience{30};

/// Waits until `done()` is true; a named error when that takes too long.
template <class Done>
void wait_for_ranks(const char* what, int rank, Done done);
[[noreturn]] void report_absent_ranks(const char* what, int rank);

template <class Done>
void wait_for_ranks(const char* what, int rank, Done done) {
  const auto deadline = std::chrono::steady_clock::now() + kRankPatience;
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) report_absent_ranks(what, rank);
    std::this_thread::yield();
  }
}

void wait(MPI_Request request, const char* what, int rank);

}  // namespace cuda_emulator

/// A communicator, or one in the making: the owner of the unique id gathers the members' places in MPI_COMM_WORLD and
/// sends the list to all; then they make an MPI communicator of their own.
struct ncclComm {
  ncclComm(int size_, ncclUniqueId id, int rank_);

  /// One step of the making; true when it is done. Waits for nobody until all have come.
  bool advance();
  [[nodiscard]] bool ready() const { return state == ncclSuccess; }

  MPI_Comm mpi = MPI_COMM_NULL;
  const int rank, size;
  const std::thread::id owner = std::this_thread::get_id();
  std::atomic<ncclResult_t> state = ncclInProgress;

 private:
  bool gather_members();
  bool receive_members();

  int root_, tag_, world_rank_ = 0;
  int introduction_[2];  // rank here, rank in MPI_COMM_WORLD
  int arrived_ = 1;
  std::vector<int> world_ranks_;
};
