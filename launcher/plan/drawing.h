// Defines: draw_forecast: the simulated step and the scaling curve as an SVG.
#pragma once

#include <string>

#include "launcher/plan/forecast.h"

namespace ballast {

[[nodiscard]] std::string draw_forecast(const Forecast& forecast, const std::string& model);

}  // namespace ballast
