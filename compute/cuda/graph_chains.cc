#include "compute/cuda/graph_chains.h"

#include <cstdlib>
#include <string_view>
#include <utility>

namespace ballast::cuda {

namespace {

// Pieces of work in one graph. The device waits for the first graph of a run while that is captured, so it should be
// short; each costs a launch, so it should be long. Chosen by reckoning, not measured.
constexpr int kEnough = 48;

bool launches_block() {
  const char* const value = std::getenv("CUDA_LAUNCH_BLOCKING");
  return value != nullptr && std::string_view(value) != "0";
}

}  // namespace

GraphChains::GraphChains(cudaStream_t stream) : stream_(stream), direct_(launches_block()) {}

void GraphChains::begin_run(std::uint64_t key) {
  require(running_ == nullptr, "CUDA graphs: a run began within another");
  next_ = 0;
  Chain& chain = chains_[key];
  const bool seen = std::exchange(chain.seen, true);
  if (seen && !direct_) running_ = &chain;
}

void GraphChains::end_run() { running_ = nullptr; }

void GraphChains::capture() {
  if (running_ == nullptr) return;
  ++captured_;
  if (capturing_) return;
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  capturing_ = true;
}

bool GraphChains::full() const { return captured_ >= kEnough; }

void GraphChains::launch() {
  captured_ = 0;
  if (!std::exchange(capturing_, false)) return;
  cudaGraph_t captured = nullptr;
  check(cudaStreamEndCapture(stream_, &captured));
  const Graph graph(captured);
  if (next_ == running_->graphs.size()) running_->graphs.emplace_back();
  Executable& executable = running_->graphs[next_++];
  bring_up_to_date(executable, graph.get());
  check(cudaGraphLaunch(executable.get(), stream_));
}

void GraphChains::bring_up_to_date(Executable& executable, cudaGraph_t graph) const {
  if (executable.get() != nullptr) {
    cudaGraphExecUpdateResultInfo result{};
    const cudaError_t status = cudaGraphExecUpdate(executable.get(), graph, &result);
    if (status == cudaSuccess) return;
    if (status != cudaErrorGraphExecUpdateFailure) check(status);
    (void)cudaGetLastError();               // a refusal is no error of the work
    check(cudaStreamSynchronize(stream_));  // the graph that goes may be running
  }
  cudaGraphExec_t made = nullptr;
  check(cudaGraphInstantiate(&made, graph, 0));
  executable = Executable(made);
}

}  // namespace ballast::cuda
