// Defines: unordered_sum: MPI's own all-reduce, for benchmarks only.
#pragma once

#include <span>

namespace ballast {

/// Collective over all processes of the MpiSession: everyone's values become their sums. The order of addition is MPI's
/// and changes with the number of workers, and so do the bits: that is why nothing else uses it.
void unordered_sum(std::span<float> values);

}  // namespace ballast
