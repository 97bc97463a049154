// Defines: forecast_json: a Forecast as docs/json.md has it. Wraps nlohmann-json.
#pragma once

#include <nlohmann/json.hpp>

#include "launcher/plan/forecast.h"

namespace ballast {

[[nodiscard]] nlohmann::ordered_json forecast_json(const Forecast& forecast);

}  // namespace ballast
