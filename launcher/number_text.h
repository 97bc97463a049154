// Defines: number_text, toml_number, toml_string: numbers and texts as they are written in files and messages.
#pragma once

#include <string>

namespace ballast {

/// The shortest decimal that reads back to the same number: "0.1", "1e-08", "8".
[[nodiscard]] std::string number_text(double value);
[[nodiscard]] std::string number_text(float value);

/// The same as a TOML float: "8.0".
[[nodiscard]] std::string toml_number(std::string number);

/// A TOML basic string with its quotes: "a\"b".
[[nodiscard]] std::string toml_string(const std::string& text);

}  // namespace ballast
