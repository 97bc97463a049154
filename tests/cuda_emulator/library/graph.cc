#include "graph.h"

#include <cstdio>
#include <cstdlib>

#include "cuda_emulator/execution.h"
#include "cuda_emulator/graph_counts.h"
#include "last_error.h"
#include "random.h"

namespace cuda_emulator {
namespace {

GraphCounts counts;

constexpr int kUpdatesToOneRefusal = 16;

// An update may change what nodes are given, but not which there are and what they wait for. (CUDA allows another
// kernel in the place of one, too.)
bool same_topology(const CUgraph_st& a, const CUgraph_st& b) {
  if (a.lanes != b.lanes || a.events != b.events || a.steps.size() != b.steps.size()) return false;
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    const CapturedStep &x = a.steps[i], &y = b.steps[i];
    if (x.kind != y.kind || x.lane != y.lane || x.event != y.event || x.work.node != y.work.node) return false;
  }
  return true;
}

void replay(CUgraphExec_st& exec, CUstream_st& stream) {
  std::vector<EventRecord> events(exec.graph.events);
  const EventRecord start = record_event(stream);
  for (CUstream_st* side : exec.side_streams) wait_for(*side, start);
  for (const CapturedStep& step : exec.graph.steps) {
    CUstream_st& lane = step.lane == 0 ? stream : *exec.side_streams[step.lane - 1];
    switch (step.kind) {
      case CapturedStep::Kind::kWork:
        if (step.work.at_launch) step.work.at_launch(lane);
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
  exec.launched = record_event(stream);
}

__attribute__((destructor)) void report_counts() {
  const char* path = std::getenv("CUDA_EMULATOR_COUNTS");
  FILE* file = path == nullptr ? nullptr : std::fopen(path, "a");
  if (file == nullptr) return;
  std::fprintf(file, "graphs: %ld instantiated, %ld updated, %ld refused, %ld launched\n", counts.instantiated,
               counts.updated, counts.refused, counts.launched);
  std::fclose(file);
}

}  // namespace
}  // namespace cuda_emulator

using namespace cuda_emulator;

extern "C" {

GraphCounts cuda_emulator_graph_counts() {
  const Lock lock;
  return counts;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const Lock lock;
  *exec = new CUgraphExec_st{*graph, {}, {}};
  for (std::size_t lane = 1; lane < graph->lanes; ++lane) (*exec)->side_streams.push_back(&create_stream(false));
  ++counts.instantiated;
  return cudaSuccess;
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph, cudaGraphExecUpdateResultInfo* result) {
  const Lock lock;
  *result = {};
  // The driver has reasons of its own as well, so every user must be ready to instantiate anew.
  if (!same_topology(exec->graph, *graph) || random_below(kUpdatesToOneRefusal) == 0) {
    ++counts.refused;
    result->result = cudaGraphExecUpdateErrorTopologyChanged;
    return remember(cudaErrorGraphExecUpdateFailure);
  }
  ++counts.updated;
  exec->graph = *graph;  // launches that are under way have copies
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Lock lock;
  if (const cudaError_t error = forbidden_while_capturing(stream_of(stream))) return remember(error);
  ++counts.launched;
  replay(*exec, stream_of(stream));
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Lock lock;
  const EventRecord& launched = exec->launched;
  if (launched.stream != nullptr && launched.stream->done < launched.number) {
    fail("cudaGraphExecDestroy: a launch of the graph is still under way");
  }
  for (CUstream_st* side : exec->side_streams) destroy_stream(*side);
  delete exec;
  return cudaSuccess;
}

}  // extern "C"
