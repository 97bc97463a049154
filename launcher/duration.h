// Defines: parse_duration, format_duration.
#pragma once

#include <optional>
#include <string>

namespace ballast {

/// Seconds of "90", "90s", "10min", "10m", "3h50m", "1.5h" or "2d12h". nullopt for anything else.
[[nodiscard]] std::optional<double> parse_duration(const std::string& text);

/// Text that parse_duration reads back to exactly the same number: "3h50min", "90s", "0.25s".
[[nodiscard]] std::string format_duration(double seconds);

}  // namespace ballast
