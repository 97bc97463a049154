// Stream capture: what streams would have queued, kept for a graph.
#pragma once

#include <thread>
#include <vector>

#include "streams.h"

namespace cuda_emulator {

struct CapturedStep {
  enum class Kind { kWork, kRecord, kWait };
  Kind kind;
  int lane;  // 0: the stream that began the capture
  Work work;
  int event = 0;
};

struct Capture {
  std::vector<CapturedStep> steps;
  std::vector<CUstream_st*> lanes;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;  // that began it
  bool invalid = false;    // something forbidden was called: its end fails
  int events = 0;

  void add(CUstream_st& stream, Work work);
  EventRecord record(CUstream_st& stream);
  void wait(CUstream_st& stream, const EventRecord& event);  // the stream joins the capture
  /// Whether everything that other streams captured was waited for.
  [[nodiscard]] bool joined() const;
};

// What CUDA forbids while something is captured. Each returns the error, cudaSuccess where there is none, and spoils
// the captures that it concerns.

/// For calls that may wait for the device, as allocation does: of a thread that captures, unless relaxed, or of any
/// thread while another captures in global mode.
cudaError_t forbidden_in_capture();
/// For waiting for a stream.
cudaError_t forbidden_while_capturing(CUstream_st& stream);
/// For waiting for the whole device.
cudaError_t forbidden_while_any_captures();
/// For a stream that is to wait for an event: neither may come from outside the other's capture.
cudaError_t forbidden_wait(CUstream_st& stream, const EventRecord& event);

}  // namespace cuda_emulator
