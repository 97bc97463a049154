// Defines: MemoryUse, MemoryPurpose, memory_purposes, JobMemory, count_memory, passes_over_values: what a job
// allocates, by purpose.
#pragma once

#include <cstdint>
#include <span>

#include "launcher/plan/exchange.h"
#include "models/model.h"
#include "runtime/job.h"

namespace ballast {

/// Bytes.
struct MemoryUse {
  std::int64_t values = 0;        ///< of all copies of the weights that are trained
  std::int64_t outer_values = 0;  ///< with [outer]: what the copies are brought together into
  std::int64_t gradients = 0;
  std::int64_t differences = 0;  ///< with [outer]: of the groups' copies from the outer values
  std::int64_t optimizer = 0;
  std::int64_t outer_state = 0;  ///< with [outer]: momentum, values as last sent, what evaluation borrows
  std::int64_t errors = 0;       ///< what codes have left out
  std::int64_t decoded = 0;      ///< sums of the groups for a slice, and one on its way into a code and back
  std::int64_t activations = 0;
  std::int64_t samples = 0;   ///< micro-batches on the host: this one and the next
  std::int64_t exchange = 0;  ///< messages between nodes
  std::int64_t snapshot = 0;  ///< the copy that a checkpoint is written from

  [[nodiscard]] std::int64_t total() const;
};

struct MemoryPurpose {
  const char* key;   ///< in JSON
  const char* text;  ///< for people
  const char* note;
  bool always;  ///< worth a line where there is none
  std::int64_t MemoryUse::*bytes;
};
/// All members of MemoryUse, in the order in which they are shown.
[[nodiscard]] std::span<const MemoryPurpose> memory_purposes();

struct JobMemory {
  MemoryUse worker;  ///< the busiest
  MemoryUse node;    ///< a node of `who`
  bool values_shared = false;
};
/// `model` is planned for the job's micro-batches. ConfigError as lay_out_copies.
[[nodiscard]] JobMemory count_memory(const JobConfig& config, Model& model, const Ownership& who);

/// Who shares memory with whom: a worker is a node of its own without comm.share_memory, and on devices.
[[nodiscard]] Ownership sharers(const JobConfig& config, int workers, int nodes);

/// Bytes of one copy's values on a node, and how often those of others come in a step: with comm.sharding = "values" of
/// the busiest node its own and the window that a pass reads through, and several times.
struct ValuesOfNode {
  std::int64_t bytes = 0;
  double times = 1.0;
};
[[nodiscard]] ValuesOfNode values_of_node(const JobConfig& config, Model& model, const Ownership& who);

}  // namespace ballast
