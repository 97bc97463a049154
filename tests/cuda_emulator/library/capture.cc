#include "capture.h"

#include <algorithm>
#include <memory>

#include "graph.h"
#include "last_error.h"

namespace cuda_emulator {
namespace {

std::vector<Capture*> captures;  // under way

cudaError_t spoil(Capture& capture, cudaError_t error) {
  capture.invalid = true;
  return error;
}

}  // namespace

void Capture::add(CUstream_st& stream, Work work) {
  steps.push_back({CapturedStep::Kind::kWork, stream.lane, std::move(work)});
}

EventRecord Capture::record(CUstream_st& stream) {
  steps.push_back({CapturedStep::Kind::kRecord, stream.lane, {}, events});
  return {.stream = &stream, .capture = this, .captured_event = events++};
}

void Capture::wait(CUstream_st& stream, const EventRecord& event) {
  if (stream.capture == nullptr) {
    stream.capture = this;
    stream.lane = static_cast<int>(lanes.size());
    lanes.push_back(&stream);
  }
  steps.push_back({CapturedStep::Kind::kWait, stream.lane, {}, event.captured_event});
}

bool Capture::joined() const {
  // A lane is joined when its last step is a record that a lane which is itself joined waits for; one level is what is
  // needed here.
  for (std::size_t lane = 1; lane < lanes.size(); ++lane) {
    const CapturedStep* last = nullptr;
    for (const CapturedStep& step : steps) {
      if (step.lane == static_cast<int>(lane)) last = &step;
    }
    bool waited_for = false;
    for (const CapturedStep& step : steps) {
      waited_for |= step.kind == CapturedStep::Kind::kWait && step.lane == 0 &&
                    last->kind == CapturedStep::Kind::kRecord && step.event == last->event;
    }
    if (!waited_for) return false;
  }
  return true;
}

cudaError_t forbidden_in_capture() {
  cudaError_t error = cudaSuccess;
  for (Capture* capture : captures) {
    const bool mine = capture->thread == std::this_thread::get_id();
    if (capture->mode == cudaStreamCaptureModeRelaxed) continue;
    if (mine || capture->mode == cudaStreamCaptureModeGlobal)
      error = spoil(*capture, cudaErrorStreamCaptureUnsupported);
  }
  return error;
}

cudaError_t forbidden_while_capturing(CUstream_st& stream) {
  return stream.capture == nullptr ? cudaSuccess : spoil(*stream.capture, cudaErrorStreamCaptureUnsupported);
}

cudaError_t forbidden_while_any_captures() {
  for (Capture* capture : captures) spoil(*capture, cudaErrorStreamCaptureUnsupported);
  return captures.empty() ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
}

cudaError_t forbidden_wait(CUstream_st& stream, const EventRecord& event) {
  if (event.stream == nullptr) return cudaSuccess;  // never recorded
  if (event.capture == nullptr) {
    return stream.capture == nullptr ? cudaSuccess : spoil(*stream.capture, cudaErrorStreamCaptureIsolation);
  }
  if (std::find(captures.begin(), captures.end(), event.capture) == captures.end()) return cudaErrorCapturedEvent;
  if (stream.capture == nullptr || stream.capture == event.capture) return cudaSuccess;
  return spoil(*stream.capture, cudaErrorStreamCaptureMerge);
}

}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock;
  CUstream_st& origin = stream_of(stream);
  if (stream == nullptr) return remember(cudaErrorStreamCaptureUnsupported);
  if (origin.capture != nullptr) return remember(cudaErrorIllegalState);
  origin.capture = new Capture{.lanes = {&origin}, .mode = mode, .thread = std::this_thread::get_id()};
  origin.lane = 0;
  captures.push_back(origin.capture);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock;
  Capture* const ended = stream_of(stream).capture;
  if (ended == nullptr || stream_of(stream).lane != 0) return remember(cudaErrorIllegalState);
  const bool another_thread =
      ended->mode != cudaStreamCaptureModeRelaxed && ended->thread != std::this_thread::get_id();
  if (another_thread) return remember(cudaErrorStreamCaptureWrongThread);
  const std::unique_ptr<Capture> capture(ended);
  std::erase(captures, ended);
  for (CUstream_st* lane : capture->lanes) lane->capture = nullptr;
  *graph = nullptr;
  if (capture->invalid) return remember(cudaErrorStreamCaptureInvalidated);
  if (!capture->joined()) return remember(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st{std::move(capture->steps), capture->lanes.size(), capture->events};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Lock lock;
  const Capture* capture = stream_of(stream).capture;
  *status = capture == nullptr ? cudaStreamCaptureStatusNone
            : capture->invalid ? cudaStreamCaptureStatusInvalidated
                               : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

}  // extern "C"
