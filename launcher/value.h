// Defines: Value, Setting: what a job file, the environment or an argument gives a key, and where it stands.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace ballast {

/// One TOML value. Dates and tables are std::monostate: no key takes them.
struct Value {
  std::variant<std::monostate, bool, std::int64_t, double, std::string, std::vector<Value>> data;
  std::string written;  ///< for messages: the text as it was given, or a description
  bool bare = false;    ///< came from an argument or the environment, where quotes may be left out

  [[nodiscard]] const bool* boolean() const { return std::get_if<bool>(&data); }
  [[nodiscard]] const std::int64_t* integer() const { return std::get_if<std::int64_t>(&data); }
  [[nodiscard]] const double* number() const { return std::get_if<double>(&data); }
  [[nodiscard]] const std::string* text() const { return std::get_if<std::string>(&data); }
  [[nodiscard]] const std::vector<Value>* list() const { return std::get_if<std::vector<Value>>(&data); }
};

/// One key with its value. Places read "job.toml:3:1", "BALLAST_OPTIMIZER_LR" or "argument 'optimizer.lr=fast'".
struct Setting {
  std::string section, key;
  Value value;
  std::string key_place, value_place;
};

}  // namespace ballast
