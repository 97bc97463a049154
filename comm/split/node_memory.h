// Defines: NodeMemory: values and gradients that the workers of a node share.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "comm/communicator.h"
#include "compute/tensor.h"

namespace ballast {

/// Values are one copy per node, in memory of its first worker. Gradients are buffers of each worker, readable by its
/// neighbours: `buffers` flat f32 buffers behind one page that holds the worker's counters. All parts
/// are page-aligned and zero.
class NodeMemory {
 public:
  /// Collective over `node`.
  NodeMemory(Communicator& node, std::int64_t flat_size, bool bf16, int buffers, Filling filling);

  [[nodiscard]] DeviceSpan values() const { return values_; }
  [[nodiscard]] DeviceSpan compute_values() const { return compute_values_; }
  /// `neighbour` is a rank of the node's communicator.
  [[nodiscard]] DeviceSpan gradients(int neighbour, int buffer) const;
  /// Gives the pages of my own gradients at elements [begin, end) back to the system.
  void discard_gradients(int buffer, std::int64_t begin, std::int64_t end);
  /// Gives the pages of a part of the values back.
  void discard_values(DeviceSpan part) const;
  /// Written by its worker only, never falls: buckets finished since the beginning of the job.
  [[nodiscard]] std::atomic_ref<std::int64_t> finished_buckets(int neighbour) const { return counter(neighbour, 0); }
  /// Likewise: buckets in which it has no more to do with anybody's gradients.
  [[nodiscard]] std::atomic_ref<std::int64_t> summed_buckets(int neighbour) const { return counter(neighbour, 2); }
  /// Likewise: starts of a ChangeExchange whose changes it has made to the node's values.
  [[nodiscard]] std::atomic_ref<std::int64_t> applied_changes(int neighbour) const { return counter(neighbour, 3); }
  /// Likewise: messages with new values that it has received, and with masters.
  [[nodiscard]] std::atomic_ref<std::int64_t> arrived_values(int neighbour) const { return counter(neighbour, 1); }
  [[nodiscard]] std::atomic_ref<std::int64_t> arrived_masters(int neighbour) const { return counter(neighbour, 4); }

 private:
  [[nodiscard]] std::atomic_ref<std::int64_t> counter(int neighbour, int number) const;

  int rank_;
  std::int64_t flat_size_;
  std::unique_ptr<SharedSegments> value_segments_;
  std::unique_ptr<SharedSegments> gradient_segments_;
  DeviceSpan values_;
  DeviceSpan compute_values_;
};

}  // namespace ballast
