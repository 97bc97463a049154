// Streams: what is not ordered by an event or a synchronising call happens in any order. Each scenario runs several
// rounds, as a training loop does: one round may fall into the right order by luck.
#include "scenario.h"

namespace cuda_emulator::scenarios {
namespace {

constexpr unsigned kElements = 64;
constexpr int kRounds = 12;

__global__ void __launch_bounds__(kElements) fill(float* x, float value) { x[threadIdx.x] = value; }
__global__ void __launch_bounds__(kElements) add(const float* x, float* y) { y[threadIdx.x] += x[threadIdx.x]; }

struct Streams {
  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t written = nullptr, read = nullptr;
  Streams() {
    for (cudaStream_t* stream : {&first, &second}) check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
    for (cudaEvent_t* event : {&written, &read}) check(cudaEventCreateWithFlags(event, cudaEventDisableTiming));
  }
};

bool all_equal(const std::vector<float>& values, float expected) {
  return values == std::vector<float>(values.size(), expected);
}

// The first stream writes x, the second adds it to y.
template <bool kWaitForWrite, bool kWaitForRead>
bool pipeline() {
  const Streams streams;
  const DeviceArray<float> x(kElements), y(std::vector<float>(kElements, 0.0f));
  float expected = 0;
  for (int round = 1; round <= kRounds; ++round) {
    if (kWaitForRead && round > 1) check(cudaStreamWaitEvent(streams.first, streams.read, 0));
    launch(1, kElements, 0, streams.first, fill, x.data(), static_cast<float>(round));
    check(cudaEventRecord(streams.written, streams.first));
    if (kWaitForWrite) check(cudaStreamWaitEvent(streams.second, streams.written, 0));
    launch(1, kElements, 0, streams.second, add, x.data(), y.data());
    check(cudaEventRecord(streams.read, streams.second));
    expected += static_cast<float>(round);
  }
  check(cudaDeviceSynchronize());
  return all_equal(y.values(), expected);
}

float* pinned_array() {
  float* pinned = nullptr;
  check(cudaMallocHost(&pinned, kElements * sizeof(float)));
  return pinned;
}

template <bool kSynchronize>
bool download() {
  const Streams streams;
  const DeviceArray<float> x(kElements);
  float* pinned = pinned_array();
  bool right = true;
  for (int round = 1; round <= kRounds; ++round) {
    launch(1, kElements, 0, streams.first, fill, x.data(), static_cast<float>(round));
    check(cudaMemcpyAsync(pinned, x.data(), kElements * sizeof(float), cudaMemcpyDeviceToHost, streams.first));
    if (kSynchronize) check(cudaStreamSynchronize(streams.first));
    for (unsigned i = 0; i < kElements; ++i) right &= pinned[i] == static_cast<float>(round);
  }
  check(cudaFreeHost(pinned));
  return right;
}

template <bool kWaitBeforeReuse>
bool upload() {
  const Streams streams;
  const DeviceArray<float> x(kElements), y(std::vector<float>(kElements, 0.0f));
  float* pinned = pinned_array();
  float expected = 0;
  for (int round = 1; round <= kRounds; ++round) {
    for (unsigned i = 0; i < kElements; ++i) pinned[i] = static_cast<float>(round);
    check(cudaMemcpyAsync(x.data(), pinned, kElements * sizeof(float), cudaMemcpyHostToDevice, streams.first));
    check(cudaEventRecord(streams.written, streams.first));
    launch(1, kElements, 0, streams.first, add, x.data(), y.data());
    if (kWaitBeforeReuse) check(cudaEventSynchronize(streams.written));
    expected += static_cast<float>(round);
  }
  check(cudaDeviceSynchronize());
  check(cudaFreeHost(pinned));
  return all_equal(y.values(), expected);
}

// A graph of two streams: fill on one, add on the other, joined again.
template <bool kWaitForWrite>
bool graph() {
  const Streams streams;
  const DeviceArray<float> x(kElements), y(std::vector<float>(kElements, 0.0f));
  check(cudaStreamBeginCapture(streams.first, cudaStreamCaptureModeThreadLocal));
  check(cudaEventRecord(streams.written, streams.first));  // forks the second stream
  check(cudaStreamWaitEvent(streams.second, streams.written, 0));
  launch(1, kElements, 0, streams.first, fill, x.data(), 2.0f);
  check(cudaEventRecord(streams.written, streams.first));
  if (kWaitForWrite) check(cudaStreamWaitEvent(streams.second, streams.written, 0));
  launch(1, kElements, 0, streams.second, add, x.data(), y.data());
  check(cudaEventRecord(streams.read, streams.second));
  check(cudaStreamWaitEvent(streams.first, streams.read, 0));
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(streams.first, &graph));
  if (!all_equal(y.values(), 0.0f)) return false;  // a capture runs nothing
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph, 0));
  for (int round = 0; round < kRounds; ++round) {
    check(cudaMemsetAsync(x.data(), 0, kElements * sizeof(float), streams.first));
    check(cudaGraphLaunch(exec, streams.first));
  }
  check(cudaStreamSynchronize(streams.first));
  check(cudaGraphExecDestroy(exec));
  check(cudaGraphDestroy(graph));
  return all_equal(y.values(), 2.0f * kRounds);
}

bool unjoined_capture_is_refused() {
  const Streams streams;
  const DeviceArray<float> x(kElements);
  check(cudaStreamBeginCapture(streams.first, cudaStreamCaptureModeThreadLocal));
  check(cudaEventRecord(streams.written, streams.first));
  check(cudaStreamWaitEvent(streams.second, streams.written, 0));
  launch(1, kElements, 0, streams.second, fill, x.data(), 1.0f);
  cudaGraph_t graph = nullptr;
  return cudaStreamEndCapture(streams.first, &graph) == cudaErrorStreamCaptureUnjoined;
}

}  // namespace

std::vector<Scenario> stream_scenarios() {
  return {
      {"pipeline", pipeline<true, true>},
      {"missing_event_before_read", pipeline<false, true>},
      {"missing_event_before_overwrite", pipeline<true, false>},
      {"download", download<true>},
      {"pinned_buffer_read_too_early", download<false>},
      {"upload", upload<true>},
      {"pinned_buffer_overwritten_too_early", upload<false>},
      {"graph", graph<true>},
      {"missing_event_in_graph", graph<false>},
      {"unjoined_capture", unjoined_capture_is_refused},
  };
}

}  // namespace cuda_emulator::scenarios
