// CUDA graphs: a graph is what several streams would have queued, and its launch queues it.
#pragma once

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
  int events = 0;

  void add(CUstream_st& stream, Work work);
  EventRecord record(CUstream_st& stream);
  void wait(CUstream_st& stream, const EventRecord& event);  // the stream joins the capture
  /// Whether everything that other streams captured was waited for.
  [[nodiscard]] bool joined() const;
};

}  // namespace cuda_emulator
