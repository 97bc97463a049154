// Defines: forecast_text: a Forecast as tables for the terminal.
#pragma once

#include <string>

#include "launcher/plan/forecast.h"

namespace ballast {

[[nodiscard]] std::string forecast_text(const Forecast& forecast);

/// "12.3 us", "4.56 ms", "1.23 s"
[[nodiscard]] std::string short_time(double seconds);

}  // namespace ballast
