#include "capture.h"

#include <memory>

struct CUgraph_st {
  std::vector<cuda_emulator::CapturedStep> steps;
  std::size_t lanes;
  int events;
};
struct CUgraphExec_st {
  CUgraph_st graph;
  std::vector<CUstream_st*> side_streams;
};

namespace cuda_emulator {

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

namespace {

void replay(CUgraphExec_st& exec, CUstream_st& stream) {
  std::vector<EventRecord> events(exec.graph.events);
  const EventRecord start = record_event(stream);
  for (CUstream_st* side : exec.side_streams) wait_for(*side, start);
  for (const CapturedStep& step : exec.graph.steps) {
    CUstream_st& lane = step.lane == 0 ? stream : *exec.side_streams[step.lane - 1];
    switch (step.kind) {
      case CapturedStep::Kind::kWork:
        push(lane, step.work);
        break;
      case CapturedStep::Kind::kRecord:
        events[step.event] = record_event(lane);
        break;
      case CapturedStep::Kind::kWait:
        wait_for(lane, events[step.event]);
        break;
    }
  }
}

}  // namespace
}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock;
  CUstream_st& origin = stream_of(stream);
  if (stream == nullptr || origin.capture != nullptr) return cudaErrorStreamCaptureUnsupported;
  origin.capture = new Capture{.lanes = {&origin}};
  origin.lane = 0;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock;
  const std::unique_ptr<Capture> capture(stream_of(stream).capture);
  if (capture == nullptr || stream_of(stream).lane != 0) return cudaErrorIllegalState;
  for (CUstream_st* lane : capture->lanes) lane->capture = nullptr;
  *graph = nullptr;
  if (!capture->joined()) return cudaErrorStreamCaptureUnjoined;
  *graph = new CUgraph_st{std::move(capture->steps), capture->lanes.size(), capture->events};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Lock lock;
  *status = stream_of(stream).capture == nullptr ? cudaStreamCaptureStatusNone : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const Lock lock;
  *exec = new CUgraphExec_st{*graph, {}};
  for (std::size_t lane = 1; lane < graph->lanes; ++lane) (*exec)->side_streams.push_back(&create_stream(false));
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Lock lock;
  replay(*exec, stream_of(stream));
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Lock lock;
  for (CUstream_st* side : exec->side_streams) destroy_stream(*side);
  delete exec;
  return cudaSuccess;
}

}  // extern "C"
