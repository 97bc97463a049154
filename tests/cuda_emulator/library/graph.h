// CUDA graphs: what a capture kept; a launch queues it, on streams of its own.
#pragma once

#include <vector>

#include "capture.h"

struct CUgraph_st {
  std::vector<cuda_emulator::CapturedStep> steps;
  std::size_t lanes;
  int events;
};

struct CUgraphExec_st {
  CUgraph_st graph;
  std::vector<CUstream_st*> side_streams;
  cuda_emulator::EventRecord launched;  // behind the last launch
};
