// NCCL's groups and point-to-point messages over MPI.
#include "nccl_group.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "cuda_emulator/execution.h"
#include "memory.h"
#include "nccl_communicator.h"
#include "random.h"
#include "streams.h"

namespace cuda_emulator {
namespace {

struct PointToPoint {
  bool is_send;
  const void* buffer;
  std::size_t bytes;
  ncclDataType_t type;
  int peer;
};

// The open group. NCCL keeps one per thread.
struct Group {
  int depth = 0;
  std::vector<PointToPoint> messages;
  ncclComm_t comm = nullptr;  // of the messages
  cudaStream_t stream = nullptr;
  std::vector<std::function<void(bool)>> collectives;
};
thread_local Group group;

// Ranks end their groups in one order, whatever is in them; so they agree by this number, and the seed, which run at
// once.
std::uint64_t groups_ended = 0;

void start_sends(const std::vector<PointToPoint>& messages, ncclComm_t comm, std::vector<MPI_Request>& requests) {
  for (const PointToPoint& message : messages) {
    if (!message.is_send) continue;
    requests.emplace_back();
    MPI_Isend(message.buffer, static_cast<int>(message.bytes), MPI_BYTE, message.peer, message.type, comm->mpi,
              &requests.back());
  }
}

// Receives what has come from the sender of `message`, after comparing its size and type.
bool try_receive(const PointToPoint& message, ncclComm_t comm, std::vector<MPI_Request>& requests) {
  int came = 0, bytes = 0;
  MPI_Message handle;
  MPI_Status status;
  MPI_Improbe(message.peer, MPI_ANY_TAG, comm->mpi, &came, &handle, &status);
  if (came == 0) return false;
  MPI_Get_count(&status, MPI_BYTE, &bytes);
  if (static_cast<std::size_t>(bytes) != message.bytes || status.MPI_TAG != message.type) {
    fail("ncclRecv: rank %d expects %zu bytes of type %d from rank %d, which sent %d bytes of type %d", comm->rank,
         message.bytes, message.type, message.peer, bytes, status.MPI_TAG);
  }
  requests.emplace_back();
  MPI_Imrecv(const_cast<void*>(message.buffer), bytes, MPI_BYTE, &handle, &requests.back());
  return true;
}

void exchange(const std::vector<PointToPoint>& messages, ncclComm_t comm) {
  std::vector<MPI_Request> requests;
  start_sends(messages, comm, requests);
  std::vector<PointToPoint> expected;
  std::copy_if(messages.begin(), messages.end(), std::back_inserter(expected),
               [](const PointToPoint& message) { return !message.is_send; });
  wait_for_ranks("ncclRecv", comm->rank, [&] {
    // Messages of one sender come in order, so only the first that is expected of each sender is looked for.
    std::vector<bool> busy(comm->size, false);
    std::erase_if(expected, [&](const PointToPoint& message) {
      if (busy[message.peer]) return false;
      const bool received = try_receive(message, comm, requests);
      busy[message.peer] = !received;
      return received;
    });
    return expected.empty();
  });
  for (const MPI_Request& request : requests) wait(request, "ncclSend", comm->rank);
}

ncclResult_t add_message(const PointToPoint& message, ncclComm_t comm, cudaStream_t stream) {
  if (!comm->ready()) return ncclInvalidUsage;
  if (message.peer < 0 || message.peer >= comm->size) return ncclInvalidArgument;
  if (!group.messages.empty() && (group.comm != comm || group.stream != stream)) {
    fail("the emulator wants all messages of a group on one communicator and one stream");
  }
  group.comm = comm;
  group.stream = stream;
  ncclGroupStart();
  group.messages.push_back(message);
  return ncclGroupEnd();
}

void push_messages(const Group& ended, bool early) {
  const Lock lock;
  push(stream_of(ended.stream), {.what = "ncclGroupEnd",
                                 .run =
                                     [messages = ended.messages, comm = ended.comm](CUstream_st&) {
                                       for (const PointToPoint& message : messages) {
                                         check_range(message.buffer, message.bytes,
                                                     message.is_send ? "ncclSend" : "ncclRecv",
                                                     message.is_send ? Access::kRead : Access::kWrite);
                                       }
                                       const UnseenByTsan mpi;
                                       exchange(messages, comm);
                                     },
                                 .collective = true,
                                 .early = early});
}

}  // namespace

std::size_t element_bytes(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    default:
      return 8;
  }
}

void issue_with_group(std::function<void(bool early)> issue) {
  ncclGroupStart();
  group.collectives.push_back(std::move(issue));
  ncclGroupEnd();
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return ncclInvalidUsage;
  if (--group.depth > 0) return ncclSuccess;
  const Group ended = std::exchange(group, {});
  const bool early = keyed_random(groups_ended++) % 2 == 0;
  if (!ended.messages.empty()) push_messages(ended, early);
  for (const auto& issue : ended.collectives) issue(early);
  return ncclSuccess;
}

ncclResult_t ncclSend(const void* buffer, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add_message({true, buffer, count * element_bytes(type), type, peer}, comm, stream);
}
ncclResult_t ncclRecv(void* buffer, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add_message({false, buffer, count * element_bytes(type), type, peer}, comm, stream);
}

}  // extern "C"
