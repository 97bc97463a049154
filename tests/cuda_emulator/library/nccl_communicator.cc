#include "nccl_communicator.h"

#include <cstring>

#include "cuda_emulator/execution.h"
#include "streams.h"

namespace cuda_emulator {
namespace {

constexpr int kFirstTag = 20000;  // of MPI_COMM_WORLD, used while communicators are made

struct Id {
  int root, serial;
};

}  // namespace

void report_absent_ranks(const char* what, int rank) {
  fail("%s: rank %d waits, and other ranks have not come within %d seconds", what, rank,
       static_cast<int>(kRankPatience.count()));
}

void wait(MPI_Request request, const char* what, int rank) {
  wait_for_ranks(what, rank, [&] {
    int done = 0;
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    return done != 0;
  });
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

ncclComm::ncclComm(int size_, ncclUniqueId id, int rank_) : rank(rank_), size(size_), world_ranks_(size_, -1) {
  Id origin;
  std::memcpy(&origin, id.internal, sizeof origin);
  root_ = origin.root;
  tag_ = kFirstTag + 2 * (origin.serial % 4096);
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank_);
  introduction_[0] = rank;
  introduction_[1] = world_rank_;
  world_ranks_[rank] = world_rank_;
  if (world_rank_ == root_) return;
  MPI_Request request;
  MPI_Isend(introduction_, 2, MPI_INT, root_, tag_, MPI_COMM_WORLD, &request);
  MPI_Request_free(&request);
}

bool ncclComm::gather_members() {
  int waiting = 1;
  while (arrived_ < size && waiting != 0) {
    MPI_Iprobe(MPI_ANY_SOURCE, tag_, MPI_COMM_WORLD, &waiting, MPI_STATUS_IGNORE);
    if (waiting == 0) break;
    int member[2];
    MPI_Recv(member, 2, MPI_INT, MPI_ANY_SOURCE, tag_, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (world_ranks_.at(member[0]) >= 0) fail("ncclCommInitRank: rank %d comes twice", member[0]);
    world_ranks_[member[0]] = member[1];
    ++arrived_;
  }
  if (arrived_ < size) return false;
  for (const int member : world_ranks_) {
    if (member != world_rank_) MPI_Send(world_ranks_.data(), size, MPI_INT, member, tag_ + 1, MPI_COMM_WORLD);
  }
  return true;
}

bool ncclComm::receive_members() {
  int waiting = 0;
  MPI_Iprobe(root_, tag_ + 1, MPI_COMM_WORLD, &waiting, MPI_STATUS_IGNORE);
  if (waiting == 0) return false;
  MPI_Recv(world_ranks_.data(), size, MPI_INT, root_, tag_ + 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  return true;
}

bool ncclComm::advance() {
  if (ready()) return true;
  if (!(world_rank_ == root_ ? gather_members() : receive_members())) return false;
  MPI_Group world, members;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  MPI_Group_incl(world, size, world_ranks_.data(), &members);
  MPI_Comm_create_group(MPI_COMM_WORLD, members, tag_, &mpi);
  MPI_Group_free(&members);
  MPI_Group_free(&world);
  state = ncclSuccess;
  return true;
}

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclInvalidArgument:
      return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage:
      return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}
const char* ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int next_serial = 0;
  Id origin{0, next_serial++};
  MPI_Comm_rank(MPI_COMM_WORLD, &origin.root);
  std::memset(id, 0, sizeof *id);
  std::memcpy(id->internal, &origin, sizeof origin);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (size < 1 || rank < 0 || rank >= size) return ncclInvalidArgument;
  *comm = new ncclComm(size, id, rank);
  if (config != nullptr && config->blocking == 0) return (*comm)->advance() ? ncclSuccess : ncclInProgress;
  wait_for_ranks("ncclCommInitRank", rank, [comm] { return (*comm)->advance(); });
  return ncclSuccess;
}
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int size, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(comm, size, id, rank, nullptr);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result) {
  if (!comm->ready() && comm->owner == std::this_thread::get_id()) comm->advance();
  *result = comm->state;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) { return comm->ready() ? ncclSuccess : ncclInvalidUsage; }

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  {
    const Lock lock;
    synchronize_all();
  }
  if (comm->mpi != MPI_COMM_NULL) MPI_Comm_free(&comm->mpi);
  delete comm;
  return ncclSuccess;
}

// Queued work may name the communicator, and the other ranks may be gone: it is left as it is.
ncclResult_t ncclCommAbort(ncclComm_t) { return ncclSuccess; }

ncclResult_t ncclCommCount(const ncclComm_t comm, int* size) {
  *size = comm->size;
  return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  *rank = comm->rank;
  return ncclSuccess;
}

}  // extern "C"
