// Defines: DeviceParts, Addends, SliceExchange: how slices travel between devices.
#pragma once

#include <vector>

#include "comm/device/device_exchange.h"
#include "comm/split/sum_plan.h"
#include "compute/backend.h"

namespace ballast {

/// What a DeviceAllReduce is made of; outlives its exchange of slices. Every worker is a node of its own.
struct DeviceParts {
  Backend& backend;
  DeviceExchange& exchange;
  int rank = 0, workers = 1;
  const std::vector<Block>& blocks;
  const Partition& partition;
  const SumPlan& plan;
  std::vector<DeviceSpan> gradients;  ///< the worker's buffers; a LocalSum lies in one of them
  DeviceSpan values, compute_values;

  [[nodiscard]] DeviceSpan published(const PublishedRun& run) const {
    return (run.dtype == DType::kBF16 ? compute_values : values).subspan(run.begin, run.end - run.begin);
  }
};

/// What makes up a slice's sum, for Backend::ordered_sum.
struct Addends {
  std::vector<ConstDeviceSpan> spans;
  std::vector<int> program;
};

class SliceExchange {
 public:
  virtual ~SliceExchange() = default;
  /// The bucket's gradients are in the backend's queue: sends what others own, receives what I own. In rising order of
  /// buckets.
  virtual void send_bucket(int bucket) = 0;
  /// Of plan.my_slices[index], there once the exchange of its bucket is through.
  [[nodiscard]] virtual Addends addends(int index) = 0;
  /// Sends the values of my slices, receives those of others: through when the exchange, then the backend is.
  virtual void exchange_values() = 0;
  /// See SplitAllReduce.
  [[nodiscard]] virtual std::vector<CodingError> coding_errors() const { return {}; }
};

}  // namespace ballast
