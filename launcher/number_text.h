// Defines: number_text, toml_number, toml_string, and texts for people: bytes, counts, times.
#pragma once

#include <cstdint>
#include <string>

namespace ballast {

/// The shortest decimal that reads back to the same number: "0.1", "1e-08", "8".
[[nodiscard]] std::string number_text(double value);
[[nodiscard]] std::string number_text(float value);

/// The same as a TOML float: "8.0".
[[nodiscard]] std::string toml_number(std::string number);

/// A TOML basic string with its quotes: "a\"b".
[[nodiscard]] std::string toml_string(const std::string& text);

/// Four significant digits: "0.8215", "3e-04", "1.234e+12".
[[nodiscard]] std::string short_number(double value);
[[nodiscard]] std::string bytes_text(double bytes);        ///< "512 B", "12.3 MiB"
[[nodiscard]] std::string count_text(std::int64_t count);  ///< "1,234,567"
[[nodiscard]] std::string seconds_text(double seconds);    ///< "42s", "3m12s", "2h05m"

}  // namespace ballast
