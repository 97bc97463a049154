// What was done with CUDA graphs in this process, for tests that must know that they ran through graphs.
#pragma once

extern "C" {

struct GraphCounts {
  long instantiated, updated, refused, launched;
};
GraphCounts cuda_emulator_graph_counts();
}
