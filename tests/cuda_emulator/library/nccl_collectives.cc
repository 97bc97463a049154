// NCCL's collectives over MPI: they run on the stream they were given, in the order of their issue on every rank.
#include <cuda_bf16.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "cuda_emulator/execution.h"
#include "memory.h"
#include "nccl_communicator.h"
#include "nccl_group.h"
#include "streams.h"

namespace cuda_emulator {
namespace {

using Bytes = std::vector<std::byte>;

template <class T>
T combine(ncclRedOp_t op, T a, T b) {
  if (op == ncclMax) return a > b ? a : b;
  if (op == ncclMin) return a < b ? a : b;
  return op == ncclProd ? T(a * b) : T(a + b);
}

// In the order of ranks; bf16 rounds at every step, as a ring does.
template <class T>
void reduce_ranks(const Bytes& all, std::size_t count, int ranks, ncclRedOp_t op, void* result) {
  const auto* values = reinterpret_cast<const T*>(all.data());
  for (std::size_t i = 0; i < count; ++i) {
    T sum = values[i];
    for (int rank = 1; rank < ranks; ++rank) sum = combine(op, sum, values[rank * count + i]);
    if (op == ncclAvg) sum = T(sum / T(static_cast<float>(ranks)));
    static_cast<T*>(result)[i] = sum;
  }
}

void reduce(const Bytes& all, std::size_t count, ncclDataType_t type, int ranks, ncclRedOp_t op, void* result) {
  switch (type) {
    case ncclFloat32:
      return reduce_ranks<float>(all, count, ranks, op, result);
    case ncclFloat64:
      return reduce_ranks<double>(all, count, ranks, op, result);
    case ncclBfloat16:
      return reduce_ranks<__nv_bfloat16>(all, count, ranks, op, result);
    case ncclInt32:
      return reduce_ranks<std::int32_t>(all, count, ranks, op, result);
    case ncclInt64:
      return reduce_ranks<std::int64_t>(all, count, ranks, op, result);
    default:
      fail("NCCL type %d is not emulated", type);
  }
}

enum class Kind { kAllReduce, kReduceScatter, kAllGather, kBroadcast };

struct Collective {
  Kind kind;
  const char* name;
  std::size_t count;
  ncclDataType_t type;
  int detail;  // the operation, or the root
  [[nodiscard]] std::size_t bytes() const { return count * element_bytes(type); }
};

// Ranks that call different things hang a GPU, or mix up data; here they are an error.
void agree(const Collective& call, ncclComm_t comm) {
  const std::array<long long, 4> mine{static_cast<long long>(call.kind), static_cast<long long>(call.count), call.type,
                                      call.detail};
  std::vector<long long> all(mine.size() * comm->size);
  MPI_Request request;
  MPI_Iallgather(mine.data(), 4, MPI_LONG_LONG, all.data(), 4, MPI_LONG_LONG, comm->mpi, &request);
  wait(request, call.name, comm->rank);
  for (int rank = 0; rank < comm->size; ++rank) {
    if (std::equal(mine.begin(), mine.end(), all.begin() + 4 * rank)) continue;
    fail(
        "%s: the ranks disagree: rank %d has count %zu, type %d, operation %d; rank %d has kind %lld, count %lld, type "
        "%lld, "
        "operation %lld",
        call.name, comm->rank, call.count, call.type, call.detail, rank, all[4 * rank], all[4 * rank + 1],
        all[4 * rank + 2], all[4 * rank + 3]);
  }
}

// `declare` tells TSan and the bounds checks which memory the call uses.
template <class Declare, class Body>
ncclResult_t submit(const Collective& call, ncclComm_t comm, cudaStream_t stream, Declare declare, Body body) {
  if (!comm->ready()) return ncclInvalidUsage;
  issue_with_group([=](bool early) {
    const Lock lock;
    push(stream_of(stream), {.what = call.name,
                             .run =
                                 [=](CUstream_st&) {
                                   declare();
                                   const UnseenByTsan mpi;
                                   agree(call, comm);
                                   body();
                                 },
                             .collective = true,
                             .early = early});
  });
  return ncclSuccess;
}

void all_gather(const void* mine, std::size_t bytes, void* all, ncclComm_t comm, const char* name) {
  const auto* source = static_cast<const std::byte*>(mine);
  const Bytes copy(source, source + bytes);  // NCCL gathers in place, MPI does not
  MPI_Request request;
  MPI_Iallgather(copy.data(), static_cast<int>(bytes), MPI_BYTE, all, static_cast<int>(bytes), MPI_BYTE, comm->mpi,
                 &request);
  wait(request, name, comm->rank);
}

}  // namespace
}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  const Collective call{Kind::kAllReduce, "ncclAllReduce", count, type, op};
  const auto declare = [=] {
    check_range(from, call.bytes(), "ncclAllReduce send", Access::kRead);
    check_range(to, call.bytes(), "ncclAllReduce receive", Access::kWrite);
  };
  return submit(call, comm, stream, declare, [=] {
    Bytes all(call.bytes() * comm->size);
    all_gather(from, call.bytes(), all.data(), comm, call.name);
    reduce(all, count, type, comm->size, op, to);
  });
}

ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  const Collective call{Kind::kReduceScatter, "ncclReduceScatter", count, type, op};
  const auto declare = [=] {
    check_range(from, call.bytes() * comm->size, "ncclReduceScatter send", Access::kRead);
    check_range(to, call.bytes(), "ncclReduceScatter receive", Access::kWrite);
  };
  return submit(call, comm, stream, declare, [=] {
    Bytes all(call.bytes() * comm->size);
    const int bytes = static_cast<int>(call.bytes());
    MPI_Request request;
    MPI_Ialltoall(from, bytes, MPI_BYTE, all.data(), bytes, MPI_BYTE, comm->mpi, &request);
    wait(request, call.name, comm->rank);
    reduce(all, count, type, comm->size, op, to);
  });
}

ncclResult_t ncclAllGather(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  const Collective call{Kind::kAllGather, "ncclAllGather", count, type, 0};
  const auto declare = [=] {
    check_range(from, call.bytes(), "ncclAllGather send", Access::kRead);
    check_range(to, call.bytes() * comm->size, "ncclAllGather receive", Access::kWrite);
  };
  return submit(call, comm, stream, declare, [=] { all_gather(from, call.bytes(), to, comm, call.name); });
}

ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  const Collective call{Kind::kBroadcast, "ncclBroadcast", count, type, root};
  const auto declare = [=] {
    if (comm->rank == root) check_range(from, call.bytes(), "ncclBroadcast send", Access::kRead);
    check_range(to, call.bytes(), "ncclBroadcast receive", Access::kWrite);
  };
  return submit(call, comm, stream, declare, [=] {
    if (comm->rank == root && from != to) std::memcpy(to, from, call.bytes());
    MPI_Request request;
    MPI_Ibcast(to, static_cast<int>(call.bytes()), MPI_BYTE, root, comm->mpi, &request);
    wait(request, call.name, comm->rank);
  });
}

}  // extern "C"
