// Graphs: a capture holds what it was given, runs nothing, and forbids what would wait. Each scenario launches several
// times, as a training loop does: one launch may fall into the right order by luck.
#include "two_streams.h"

namespace cuda_emulator::scenarios {
namespace {

constexpr std::size_t kBytes = kElements * sizeof(float);

void begin(cudaStream_t stream) { check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal)); }

cudaGraph_t end(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(stream, &graph));
  return graph;
}

cudaGraphExec_t instantiate(cudaGraph_t graph) {
  cudaGraphExec_t exec = nullptr;
  check(cudaGraphInstantiate(&exec, graph, 0));
  check(cudaGraphDestroy(graph));
  return exec;
}

void wait_and_destroy(cudaGraphExec_t exec, cudaStream_t stream) {
  check(cudaStreamSynchronize(stream));
  check(cudaGraphExecDestroy(exec));
}

// Captures fill on one stream and add on the other, forked from it and joined again.
template <bool kFork, bool kWaitForWrite, bool kJoin>
cudaGraph_t two_streams(const Streams& streams, float* x, float* y) {
  begin(streams.first);
  if (kFork) {
    check(cudaEventRecord(streams.written, streams.first));
    check(cudaStreamWaitEvent(streams.second, streams.written, 0));
  }
  launch(1, kElements, 0, streams.first, fill, x, 2.0f);
  check(cudaEventRecord(streams.written, streams.first));
  if (kWaitForWrite) check(cudaStreamWaitEvent(streams.second, streams.written, 0));
  launch(1, kElements, 0, streams.second, add, x, y);
  check(cudaEventRecord(streams.read, streams.second));
  if (kJoin) check(cudaStreamWaitEvent(streams.first, streams.read, 0));
  return end(streams.first);
}

template <bool kFork, bool kWaitForWrite, bool kJoin>
bool graph() {
  const Streams streams;
  const DeviceArray<float> x(kElements), y(std::vector<float>(kElements, 0.0f));
  const cudaGraphExec_t exec = instantiate(two_streams<kFork, kWaitForWrite, kJoin>(streams, x.data(), y.data()));
  if (!all_equal(y.values(), 0.0f)) return false;  // a capture runs nothing
  for (int round = 0; round < kRounds; ++round) {
    check(cudaMemsetAsync(x.data(), 0, kBytes, streams.first));
    check(cudaGraphLaunch(exec, streams.first));
  }
  wait_and_destroy(exec, streams.first);
  return all_equal(y.values(), 2.0f * kRounds);
}

cudaGraph_t fill_and_add(cudaStream_t stream, float* x, float value, float* y) {
  begin(stream);
  launch(1, kElements, 0, stream, fill, x, value);
  launch(1, kElements, 0, stream, add, x, y);
  return end(stream);
}

// Every round's graph has other arguments and other memory.
template <bool kUpdate>
bool updated_graph() {
  const Streams streams;
  const DeviceArray<float> x0(kElements), x1(kElements), y(std::vector<float>(kElements, 0.0f));
  cudaGraphExec_t exec = instantiate(fill_and_add(streams.first, x0.data(), 0.0f, y.data()));
  float expected = 0;
  for (int round = 1; round <= kRounds; ++round) {
    const float value = static_cast<float>(round);
    const cudaGraph_t graph = fill_and_add(streams.first, (round % 2 == 0 ? x0 : x1).data(), value, y.data());
    cudaGraphExecUpdateResultInfo result{};
    if (!kUpdate || cudaGraphExecUpdate(exec, graph, &result) == cudaSuccess) {
      check(cudaGraphDestroy(graph));
    } else {  // refused, as the driver may
      wait_and_destroy(exec, streams.first);
      exec = instantiate(graph);
    }
    check(cudaGraphLaunch(exec, streams.first));
    expected += value;
  }
  wait_and_destroy(exec, streams.first);
  return all_equal(y.values(), expected);
}

bool graph_of_freed_memory() {
  const Streams streams;
  const DeviceArray<float> y(std::vector<float>(kElements, 0.0f));
  float* x = nullptr;
  check(cudaMalloc(&x, kBytes));
  const cudaGraphExec_t exec = instantiate(fill_and_add(streams.first, x, 1.0f, y.data()));
  check(cudaFree(x));
  check(cudaGraphLaunch(exec, streams.first));
  wait_and_destroy(exec, streams.first);
  return all_equal(y.values(), 1.0f);
}

// A graph carries a number in from pinned memory and out to it.
template <bool kWaitBeforeRead, bool kWaitBeforeOverwrite>
bool copies_in_graph() {
  const Streams streams;
  const DeviceArray<float> x(kElements);
  float *in = pinned_array(), *out = pinned_array();
  begin(streams.first);
  check(cudaMemcpyAsync(x.data(), in, kBytes, cudaMemcpyHostToDevice, streams.first));
  launch(1, kElements, 0, streams.first, add, x.data(), x.data());
  check(cudaMemcpyAsync(out, x.data(), kBytes, cudaMemcpyDeviceToHost, streams.first));
  const cudaGraphExec_t exec = instantiate(end(streams.first));
  bool right = true;
  for (int round = 1; round <= kRounds; ++round) {
    for (unsigned i = 0; i < kElements; ++i) in[i] = static_cast<float>(round);
    check(cudaGraphLaunch(exec, streams.first));
    if (!kWaitBeforeOverwrite) in[0] = -1.0f;
    if (kWaitBeforeRead) check(cudaStreamSynchronize(streams.first));
    for (unsigned i = 0; i < kElements; ++i) right &= out[i] == 2.0f * static_cast<float>(round);
  }
  wait_and_destroy(exec, streams.first);
  for (float* memory : {in, out}) check(cudaFreeHost(memory));
  return right;
}

bool graph_destroyed_while_it_runs() {
  const Streams streams;
  const DeviceArray<float> x(kElements), y(std::vector<float>(kElements, 0.0f));
  for (int round = 0; round < kRounds; ++round) {
    const cudaGraphExec_t exec = instantiate(fill_and_add(streams.first, x.data(), 1.0f, y.data()));
    check(cudaGraphLaunch(exec, streams.first));
    check(cudaGraphExecDestroy(exec));
  }
  return all_equal(y.values(), kRounds);
}

bool allocation_in_capture() {
  const Streams streams;
  begin(streams.first);
  const DeviceArray<float> x(kElements);
  return end(streams.first) != nullptr;
}

bool another_topology_is_refused() {
  const Streams streams;
  const DeviceArray<float> x(kElements), y(std::vector<float>(kElements, 0.0f));
  const cudaGraphExec_t exec = instantiate(fill_and_add(streams.first, x.data(), 1.0f, y.data()));
  begin(streams.first);
  check(cudaMemsetAsync(x.data(), 0, kBytes, streams.first));
  launch(1, kElements, 0, streams.first, add, x.data(), y.data());
  cudaGraphExecUpdateResultInfo result{};
  const bool refused = cudaGraphExecUpdate(exec, end(streams.first), &result) == cudaErrorGraphExecUpdateFailure &&
                       cudaGraphExecUpdate(exec, two_streams<true, true, true>(streams, x.data(), y.data()), &result) ==
                           cudaErrorGraphExecUpdateFailure;
  check(cudaGraphLaunch(exec, streams.first));  // as it was
  check(cudaStreamSynchronize(streams.first));
  return refused && all_equal(y.values(), 1.0f);
}

// The call fails in a capture of this thread, and the capture with it.
template <class Call>
bool spoils(cudaStream_t stream, cudaError_t error, Call call) {
  begin(stream);
  const bool fails = call() == error;
  cudaGraph_t graph = nullptr;
  return fails && cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureInvalidated && graph == nullptr;
}

bool captures_are_spoiled() {
  const Streams streams;
  const DeviceArray<float> x(kElements);
  float *memory = nullptr, pageable[kElements] = {};
  cudaStream_t stream = streams.first;
  check(cudaEventRecord(streams.written, streams.second));  // outside of any capture
  const cudaError_t unsupported = cudaErrorStreamCaptureUnsupported;
  return spoils(stream, unsupported, [&] { return cudaStreamSynchronize(stream); }) &&
         spoils(stream, unsupported, [&] { return cudaStreamQuery(stream); }) &&
         spoils(stream, unsupported, [&] { return cudaDeviceSynchronize(); }) &&
         spoils(stream, unsupported, [&] { return cudaMalloc(&memory, kBytes); }) &&
         spoils(stream, unsupported, [&] { return cudaMallocHost(&memory, kBytes); }) &&
         spoils(stream, unsupported, [&] { return cudaFree(x.data()); }) &&
         spoils(stream, unsupported,
                [&] { return cudaMemcpyAsync(x.data(), pageable, kBytes, cudaMemcpyHostToDevice, stream); }) &&
         spoils(stream, cudaErrorStreamCaptureIsolation,
                [&] { return cudaStreamWaitEvent(stream, streams.written, 0); });
}

bool unjoined_capture_is_refused() {
  const Streams streams;
  const DeviceArray<float> x(kElements);
  begin(streams.first);
  check(cudaEventRecord(streams.written, streams.first));
  check(cudaStreamWaitEvent(streams.second, streams.written, 0));
  launch(1, kElements, 0, streams.second, fill, x.data(), 1.0f);
  cudaGraph_t graph = nullptr;
  return cudaStreamEndCapture(streams.first, &graph) == cudaErrorStreamCaptureUnjoined;
}

}  // namespace

std::vector<Scenario> graph_scenarios() {
  return {
      {"graph", graph<true, true, true>},
      {"missing_event_in_graph", graph<true, false, true>},
      {"missing_fork_in_graph", graph<false, false, true>},
      {"missing_join_in_graph", graph<true, true, false>},
      {"updated_graph", updated_graph<true>},
      {"stale_graph", updated_graph<false>},
      {"graph_of_freed_memory", graph_of_freed_memory},
      {"copies_in_graph", copies_in_graph<true, true>},
      {"graph_result_read_too_early", copies_in_graph<false, true>},
      {"graph_source_overwritten_too_early", copies_in_graph<true, false>},
      {"graph_destroyed_while_it_runs", graph_destroyed_while_it_runs},
      {"allocation_in_capture", allocation_in_capture},
      {"another_topology", another_topology_is_refused},
      {"spoiled_captures", captures_are_spoiled},
      {"unjoined_capture", unjoined_capture_is_refused},
  };
}

}  // namespace cuda_emulator::scenarios
