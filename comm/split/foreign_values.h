// Defines: ForeignValues: how a node comes by the values that coordinators on other nodes own.
#pragma once

#include <span>
#include <vector>

#include "comm/split_allreduce.h"
#include "compute/backend.h"

namespace ballast {

/// Every worker makes the same calls, but for use() and end().
class ForeignValues {
 public:
  ForeignValues() = default;
  ForeignValues(const ForeignValues&) = delete;
  ForeignValues& operator=(const ForeignValues&) = delete;
  virtual ~ForeignValues() = default;

  /// Nobody on this node reads values until start().
  virtual void expect() = 0;
  /// Behind expect(): returns when other nodes have read of my slices what they wanted. Then they may change.
  virtual void wait_for_readers() = 0;
  /// My slices hold their new values. Nobody on this node reads values until everyone here has called it.
  virtual void start() = 0;
  /// See SplitAllReduce::use_values.
  virtual void use(std::span<const ElementRange> now, std::span<const ElementRange> next) = 0;
  /// Behind everybody's last use(), before the transfers end.
  virtual void end() = 0;
  /// See SplitAllReduce::publish_errors.
  [[nodiscard]] virtual std::vector<CodingError> errors() const { return {}; }
};

}  // namespace ballast
