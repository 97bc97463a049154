// Streams: what is not ordered by an event or a synchronising call happens in any order. Each scenario runs several
// rounds, as a training loop does: one round may fall into the right order by luck.
#include "two_streams.h"

namespace cuda_emulator::scenarios {
namespace {

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

// One stream's copies into one buffer follow each other; only the last one is waited for.
bool repeated_download() {
  const Streams streams;
  const DeviceArray<float> x(kElements);
  float* pinned = pinned_array();
  for (int round = 1; round <= kRounds; ++round) {
    launch(1, kElements, 0, streams.first, fill, x.data(), static_cast<float>(round));
    check(cudaMemcpyAsync(pinned, x.data(), kElements * sizeof(float), cudaMemcpyDeviceToHost, streams.first));
  }
  check(cudaStreamSynchronize(streams.first));
  bool right = true;
  for (unsigned i = 0; i < kElements; ++i) right &= pinned[i] == static_cast<float>(kRounds);
  check(cudaFreeHost(pinned));
  return right;
}

}  // namespace

std::vector<Scenario> stream_scenarios() {
  return {
      {"pipeline", pipeline<true, true>},
      {"missing_event_before_read", pipeline<false, true>},
      {"missing_event_before_overwrite", pipeline<true, false>},
      {"download", download<true>},
      {"repeated_download", repeated_download},
      {"pinned_buffer_read_too_early", download<false>},
      {"upload", upload<true>},
      {"pinned_buffer_overwritten_too_early", upload<false>},
  };
}

}  // namespace cuda_emulator::scenarios
