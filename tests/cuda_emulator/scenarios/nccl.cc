// cuda_emulator_nccl_scenario NAME, under mpirun: NCCL between ranks, right or with one planted mistake of rank 1.
#include <mpi.h>
#include <nccl.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "scenario.h"

namespace cuda_emulator::scenarios {
namespace {

constexpr int kElements = 32, kRounds = 8;

void check(ncclResult_t result) {
  if (result == ncclSuccess) return;
  std::fprintf(stderr, "%s\n", ncclGetErrorString(result));
  std::exit(2);
}

struct Ranks {
  int rank = 0, size = 0;
  ncclComm_t comm = nullptr;
  cudaStream_t compute = nullptr, exchange = nullptr;
  cudaEvent_t ready = nullptr, done = nullptr;

  Ranks() {
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    for (cudaStream_t* stream : {&compute, &exchange}) {
      scenarios::check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
    }
    for (cudaEvent_t* event : {&ready, &done}) {
      scenarios::check(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
    }
    ncclUniqueId id{};
    if (rank == 0) check(ncclGetUniqueId(&id));
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t state = ncclCommInitRankConfig(&comm, size, id, rank, &config);
    while (state == ncclInProgress) check(ncclCommGetAsyncError(comm, &state));
    check(state);
  }
};

__global__ void __launch_bounds__(kElements) fill(float* x, float value) { x[threadIdx.x] = value; }
__global__ void __launch_bounds__(kElements) add(const float* x, float* y) { y[threadIdx.x] += x[threadIdx.x]; }

bool all_equal(const std::vector<float>& values, float expected) {
  return values == std::vector<float>(values.size(), expected);
}

// Gradients on one stream, their sum over ranks on another, the update behind it: a training loop.
template <bool kWaitForGradient, bool kWaitForSum>
bool training_loop(const Ranks& ranks) {
  const DeviceArray<float> gradient(kElements), weight(std::vector<float>(kElements, 0.0f));
  float expected = 0;
  for (int round = 1; round <= kRounds; ++round) {
    launch(1, kElements, 0, ranks.compute, fill, gradient.data(), static_cast<float>(round * (ranks.rank + 1)));
    scenarios::check(cudaEventRecord(ranks.ready, ranks.compute));
    if (kWaitForGradient) scenarios::check(cudaStreamWaitEvent(ranks.exchange, ranks.ready, 0));
    check(ncclAllReduce(gradient.data(), gradient.data(), kElements, ncclFloat32, ncclSum, ranks.comm, ranks.exchange));
    scenarios::check(cudaEventRecord(ranks.done, ranks.exchange));
    if (kWaitForSum) scenarios::check(cudaStreamWaitEvent(ranks.compute, ranks.done, 0));
    launch(1, kElements, 0, ranks.compute, add, gradient.data(), weight.data());
    expected += static_cast<float>(round * ranks.size * (ranks.size + 1) / 2);
  }
  scenarios::check(cudaDeviceSynchronize());
  return all_equal(weight.values(), expected);
}

// Everyone sends its number to everyone; `kFewer` elements are missing in what rank 1 sends.
template <int kFewer>
bool messages(const Ranks& ranks) {
  const DeviceArray<float> mine(kElements), all(static_cast<std::size_t>(kElements) * ranks.size);
  launch(1, kElements, 0, ranks.exchange, fill, mine.data(), static_cast<float>(ranks.rank));
  check(ncclGroupStart());
  for (int peer = 0; peer < ranks.size; ++peer) {
    const std::size_t count = kElements - (ranks.rank == 1 ? kFewer : 0);
    check(ncclSend(mine.data(), count, ncclFloat32, peer, ranks.comm, ranks.exchange));
    check(ncclRecv(all.data() + static_cast<std::ptrdiff_t>(peer) * kElements, kElements, ncclFloat32, peer, ranks.comm,
                   ranks.exchange));
  }
  check(ncclGroupEnd());
  scenarios::check(cudaStreamSynchronize(ranks.exchange));
  const std::vector<float> values = all.values();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] != static_cast<float>(i / kElements)) return false;
  }
  return true;
}

// The mean by its halves, and a broadcast.
bool scatter_gather(const Ranks& ranks) {
  const int part = kElements;
  const DeviceArray<float> x(std::vector<float>(part * ranks.size, static_cast<float>(ranks.rank)));
  float* mine = x.data() + static_cast<std::ptrdiff_t>(ranks.rank) * part;
  check(ncclReduceScatter(x.data(), mine, part, ncclFloat32, ncclAvg, ranks.comm, ranks.exchange));
  check(ncclAllGather(mine, x.data(), part, ncclFloat32, ranks.comm, ranks.exchange));
  scenarios::check(cudaStreamSynchronize(ranks.exchange));
  const bool mean = all_equal(x.values(), static_cast<float>(ranks.size - 1) / 2);
  const DeviceArray<float> y(std::vector<float>(part, static_cast<float>(ranks.rank)));
  check(ncclBroadcast(y.data(), y.data(), part, ncclFloat32, ranks.size - 1, ranks.comm, ranks.exchange));
  scenarios::check(cudaStreamSynchronize(ranks.exchange));
  return mean && all_equal(y.values(), static_cast<float>(ranks.size - 1));
}

bool other_count(const Ranks& ranks) {
  const DeviceArray<float> x(std::vector<float>(kElements, 1.0f));
  check(ncclAllReduce(x.data(), x.data(), kElements - (ranks.rank == 1), ncclFloat32, ncclSum, ranks.comm,
                      ranks.exchange));
  scenarios::check(cudaDeviceSynchronize());
  return true;
}

bool other_order(const Ranks& ranks) {
  const DeviceArray<float> x(std::vector<float>(kElements, 1.0f)), y(std::vector<float>(kElements, 1.0f));
  for (int call = 0; call < 2; ++call) {
    if (call == (ranks.rank == 1 ? 1 : 0)) {
      check(ncclAllReduce(x.data(), x.data(), kElements, ncclFloat32, ncclSum, ranks.comm, ranks.exchange));
    } else {
      check(ncclBroadcast(y.data(), y.data(), kElements, ncclFloat32, 0, ranks.comm, ranks.exchange));
    }
  }
  scenarios::check(cudaDeviceSynchronize());
  return true;
}

int run(const std::string& name) {
  const Ranks ranks;
  const std::vector<std::pair<std::string, bool (*)(const Ranks&)>> scenarios = {
      {"training_loop", training_loop<true, true>},
      {"sum_does_not_wait_for_gradient", training_loop<false, true>},
      {"update_does_not_wait_for_sum", training_loop<true, false>},
      {"messages", messages<0>},
      {"message_too_short", messages<1>},
      {"scatter_gather", scatter_gather},
      {"other_count", other_count},
      {"other_order", other_order},
  };
  for (const auto& [known, scenario] : scenarios) {
    if (known != name) continue;
    int right = scenario(ranks), all_right = 0;
    MPI_Allreduce(&right, &all_right, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    check(ncclCommDestroy(ranks.comm));
    if (all_right == 0 && ranks.rank == 0) std::fputs("wrong result\n", stderr);
    return all_right == 1 ? 0 : 1;
  }
  return 64;
}

}  // namespace
}  // namespace cuda_emulator::scenarios

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
  const int result = cuda_emulator::scenarios::run(argc > 1 ? argv[1] : "");
  MPI_Finalize();
  return result;
}
