// Defines: StepsOptions, training_steps: what Trainer does with a SplitAllReduce, on numbers that any worker can make
// up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "comm/split_allreduce.h"

namespace ballast {

using MakeSplitAllReduce = std::function<std::unique_ptr<SplitAllReduce>(
    Communicator&, Backend&, std::int64_t, std::vector<Block>, bool, const SplitAllReduceOptions&)>;

struct StepsOptions {
  SplitAllReduceOptions split;
  bool bf16 = false;
  int steps = 3;
  std::int64_t scale = 1;                             ///< times as many elements
  MakeSplitAllReduce make = make_split_allreduce;     ///< which implementation
  std::function<std::unique_ptr<Backend>()> backend;  ///< empty: the reference backend
  bool evaluate = false;                              ///< between steps every worker makes passes of its own number
};

/// Runs a few steps of SGD whose gradients depend on the values that this worker sees, in two micro-batches per shard.
/// Returns the bits of every sum and, after every step, of the values that everybody must see: equal on every worker of
/// every run with the same `shards` and `bf16`. Adds test failures when gradients do not start at zero.
[[nodiscard]] std::vector<std::uint32_t> training_steps(Communicator& world, const StepsOptions& options);

/// The same sums from the definitions of the tree and of the coding, without any SplitAllReduce.
[[nodiscard]] std::vector<std::uint32_t> expected_steps(const StepsOptions& options);

}  // namespace ballast
