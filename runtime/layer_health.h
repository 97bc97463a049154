// Defines: LayerHealth: warns, by name, when a layer's gradient vanishes or explodes.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "models/parameters.h"
#include "runtime/coordinator.h"

namespace ballast {

/// A matrix's gradient vanishes when its root mean square falls below 1e-6 of the largest one among the matrices of the
/// same step, and explodes when it rises above 100 times its own running mean over at least five earlier reports. A
/// layer is named once until it has been well again.
class LayerHealth {
 public:
  explicit LayerHealth(const ParameterTable& parameters) : parameters_(parameters) {}
  /// Warnings of this report, ready to print.
  [[nodiscard]] std::vector<std::string> check(std::int64_t step, const std::vector<ParameterStatistics>& statistics);

 private:
  struct History {
    double mean = 0.0;
    int reports = 0;
    bool warned = false;
  };
  const ParameterTable& parameters_;
  std::map<int, History> histories_;
};

}  // namespace ballast
