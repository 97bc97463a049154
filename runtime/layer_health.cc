#include "runtime/layer_health.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace ballast {
namespace {

constexpr double kVanishing = 1e-6;
constexpr double kExploding = 100.0;
constexpr int kReportsNeeded = 5;
constexpr double kMeanDecay = 0.9;

std::string warning(std::int64_t step, const std::string& name, const char* what, double value, const char* mend) {
  std::ostringstream text;
  text.precision(3);
  text << "step " << step << ": the gradient of " << name << ' ' << what << " (root mean square " << value << "). "
       << mend;
  return text.str();
}

}  // namespace

std::vector<std::string> LayerHealth::check(std::int64_t step, const std::vector<ParameterStatistics>& statistics) {
  const auto root_mean_square = [this](const ParameterStatistics& s) {
    return s.gradient_norm / std::sqrt(static_cast<double>(parameters_[s.parameter].size));
  };
  double largest = 0.0;
  for (const ParameterStatistics& s : statistics) {
    if (parameters_[s.parameter].decays()) largest = std::max(largest, root_mean_square(s));
  }
  std::vector<std::string> warnings;
  for (const ParameterStatistics& s : statistics) {
    const Parameter& parameter = parameters_[s.parameter];
    if (!parameter.decays()) continue;
    const double value = root_mean_square(s);
    History& history = histories_[s.parameter];
    const bool vanishes = value < kVanishing * largest;
    const bool explodes = history.reports >= kReportsNeeded && value > kExploding * history.mean;
    if (vanishes && !history.warned) {
      warnings.push_back(
          warning(step, parameter.name, "vanishes", value, "Check initialisation, depth and optimizer.lr"));
    }
    if (explodes && !history.warned) {
      warnings.push_back(warning(step, parameter.name, "explodes", value, "Set optimizer.clip or lower optimizer.lr"));
    }
    history.warned = vanishes || explodes;
    history.mean = history.reports == 0 ? value : kMeanDecay * history.mean + (1 - kMeanDecay) * value;
    ++history.reports;
  }
  return warnings;
}

}  // namespace ballast
