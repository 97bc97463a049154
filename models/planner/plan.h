// Defines: GradientRoute, NodePlan, Plan, make_plan: where every tensor of a pass lives, decided before anything is
// allocated.
//
// Time: operation i of n runs forward at time i; backward follows, last operation first. Before the backward of a
// segment (graph.h) those of its operations run forward again whose results it needs. A value lives from its operation
// to its last reader in forward, or in backward where an operation says that its backward reads it; a value that is
// only read within its segment lives twice instead. Several values may share one storage when one takes over the memory
// of another that nobody reads any more.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "models/graph.h"
#include "models/planner/arena.h"

namespace ballast {

/// How the gradient of one input of one operation comes about. Numbers are storages, -1 for none.
struct GradientRoute {
  int target = -1;          ///< backward() writes here
  bool accumulate = false;  ///< ... adding to what is there
  std::array<int, 2> addends = {-1, -1};
  int sum = -1;  ///< afterwards sum = addends[0] + addends[1]
};

struct NodePlan {
  bool has_backward = false;
  bool calls_backward = false;  ///< false where the gradient is only passed on
  int output_gradient = -1;     ///< storage
  int backward_time = 0;
  std::vector<int> again;                   ///< operations that run forward again before this backward, in order
  int scratch = -1, scratch_backward = -1;  ///< storages, -1 for none
  std::vector<int> saved;                   ///< storages
  std::vector<int> saved_again;             ///< the same as backward and a second forward see them
  std::array<GradientRoute, kMaxInputs> routes;
  std::array<bool, kMaxParameters> first_gradient =
      {};  ///< the first in backward that adds to this parameter's gradient
  /// After the backward of this operation, parameter gradients at flat offsets >= this are final.
  std::int64_t ready_offset = 0;
};

struct Plan {
  std::int64_t max_samples = 0;
  std::int64_t arena_bytes = 0;
  std::vector<Storage> storages;
  std::vector<NodePlan> nodes;               ///< as Graph::nodes
  std::vector<int> without_gradient;         ///< parameters that no backward adds to
  std::vector<int> value_storage;            ///< as Graph::values
  std::vector<int> value_storage_again;      ///< the same as backward and a second forward see them
  std::vector<std::int64_t> value_elements;  ///< of one sample
};

/// Throws Error for an incomplete graph or sizes beyond 63 bits.
[[nodiscard]] Plan make_plan(const Graph& graph, std::int64_t max_samples);

}  // namespace ballast
