// Defines: randomise_values, expect_gradients_match: backward against central finite differences of forward, in double
// precision.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "tests/support/model_run.h"

namespace ballast {

/// Moves every trained value away from its start: zeros, ones and small numbers would hide mistakes.
inline void randomise_values(ModelRun& run, unsigned seed, double deviation = 0.4) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0.0, deviation);
  std::vector<double> values = run.values();
  for (const Parameter& p : run.table().all()) {
    if (p.kind != ParameterKind::kTrained) continue;
    for (std::int64_t i = 0; i < p.size; ++i) values[static_cast<std::size_t>(p.offset + i)] += normal(random);
  }
  run.set_values(values);
}

/// (loss(w + h) - loss(w - h)) / 2h for one value.
inline double numeric_gradient(ModelRun& run, const Batch& batch, std::size_t element) {
  constexpr double kStep = 1e-5;
  const std::vector<double> values = run.values();
  std::vector<double> moved = values;
  moved[element] = values[element] + kStep;
  run.set_values(moved);
  const double above = run.forward(batch).loss;
  moved[element] = values[element] - kStep;
  run.set_values(moved);
  const double below = run.forward(batch).loss;
  run.set_values(values);
  return (above - below) / (2.0 * kStep);
}

/// Checks up to `most` elements, evenly spread, of every trained parameter: |backward - numeric| <= 1e-6 |gradient of
/// the parameter|.
inline void expect_gradients_match(ModelRun& run, const Batch& batch, std::int64_t most = 1000000) {
  constexpr float kLossScale = 0.5F;
  run.zero_gradients();
  run.forward(batch);
  run.backward(batch, kLossScale);
  const std::vector<double> gradients = run.gradients();
  double whole = 0.0;
  for (const double g : gradients) whole = std::max(whole, std::abs(g));
  EXPECT_GT(whole, 1e-3) << "a check of zeros shows nothing";
  for (const Parameter& p : run.table().all()) {
    if (p.kind != ParameterKind::kTrained) continue;
    double difference = 0.0, norm = 1e-6 * whole * whole;
    const std::int64_t stride = std::max<std::int64_t>(1, p.size / most);
    for (std::int64_t i = 0; i < p.size; i += stride) {
      const auto element = static_cast<std::size_t>(p.offset + i);
      const double numeric = kLossScale * numeric_gradient(run, batch, element);
      difference += std::pow(numeric - gradients[element], 2);
      norm += gradients[element] * gradients[element];
    }
    EXPECT_LT(std::sqrt(difference / norm), 1e-6) << p.name;
  }
}

}  // namespace ballast
