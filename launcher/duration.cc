#include "launcher/duration.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <utility>

#include "launcher/number_text.h"

namespace ballast {
namespace {

constexpr double kLongest = 1e9;  // seconds, about 31 years

double unit_seconds(const std::string& unit) {
  if (unit == "d") return 86400.0;
  if (unit == "h") return 3600.0;
  if (unit == "min" || unit == "m") return 60.0;
  return unit == "s" ? 1.0 : 0.0;
}

}  // namespace

std::optional<double> parse_duration(const std::string& text) {
  double total = 0.0;
  const char* at = text.data();
  const char* const end = at + text.size();
  if (at == end) return std::nullopt;
  while (at != end) {
    double amount = 0.0;
    const auto [after, error] = std::from_chars(at, end, amount);
    if (error != std::errc{} || std::signbit(amount) || !std::isfinite(amount)) return std::nullopt;
    const char* letter = after;
    while (letter != end && *letter >= 'a' && *letter <= 'z') ++letter;
    const bool plain_seconds = after == end && at == text.data();
    const double unit = plain_seconds ? 1.0 : unit_seconds(std::string(after, letter));
    if (unit == 0.0) return std::nullopt;
    total += amount * unit;
    at = letter;
  }
  if (total > kLongest) return std::nullopt;
  return total;
}

std::string format_duration(double seconds) {
  constexpr std::array<std::pair<std::int64_t, const char*>, 4> kUnits = {
      {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}}};
  if (seconds == 0.0 || seconds != std::floor(seconds) || seconds > kLongest) return number_text(seconds) + "s";
  auto left = static_cast<std::int64_t>(seconds);
  std::string text;
  for (const auto& [size, unit] : kUnits) {
    if (left >= size) text += std::to_string(left / size) + unit;
    left %= size;
  }
  return text;
}

}  // namespace ballast
