// Defines: GraphChains: runs of operations that come again and again, handed to the device as CUDA graphs.
//
// A graph of many operations costs the device less than their launches one by one. A run is captured anew each time,
// and its graphs of the time before take the new arguments over (cudaGraphExecUpdate): nothing in them can be stale.
// A run is a chain of graphs, so that the device works on one while the host captures the next, and so that what a
// capture cannot hold (allocation, events of other streams, copies of the host's memory) comes between two of them.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "compute/cuda/handles.h"

namespace ballast::cuda {

/// The captures of one stream, by one thread. Outside of runs nothing is captured, and all calls do nothing.
class GraphChains {
 public:
  /// `stream` must live longer. With CUDA_LAUNCH_BLOCKING set nothing is captured: whoever sets it wants to see which
  /// launch fails.
  explicit GraphChains(cudaStream_t stream);

  /// The first run of a key goes to the stream as it is: kernels are loaded, and scratch memory reaches its size.
  void begin_run(std::uint64_t key);
  /// What is captured by then should have been launched.
  void end_run();

  /// Comes before each piece of work on the stream that a graph can hold.
  void capture();
  /// Whether the graph that is being captured is large enough.
  [[nodiscard]] bool full() const;
  /// Comes before work that a graph cannot hold: launches what is captured. The stream takes work directly then, up to
  /// the next capture().
  void launch();

 private:
  using Graph = Owned<cudaGraph_t, cudaGraphDestroy>;
  using Executable = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
  struct Chain {
    bool seen = false;
    std::vector<Executable> graphs;
  };

  void bring_up_to_date(Executable& executable, cudaGraph_t graph) const;

  cudaStream_t stream_;
  bool direct_;
  std::map<std::uint64_t, Chain> chains_;
  Chain* running_ = nullptr;  ///< of the run under way, where that is captured
  std::size_t next_ = 0;      ///< the graph of the chain that comes next
  bool capturing_ = false;
  int captured_ = 0;  ///< pieces of work in the graph that is being captured
};

}  // namespace ballast::cuda
