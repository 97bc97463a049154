// Defines: Key, Range, KeyText, read_*: one key of a job file, and the few types that keys have.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "launcher/value.h"
#include "runtime/job.h"

namespace ballast {

struct Key {
  std::string section, name;
  std::string type;   ///< "integer", "number", "true or false", "text", ...
  std::string range;  ///< "1 or more", "one of \"f32\", \"bf16\"", or ""
  std::string unit;   ///< "steps", or ""
  std::string help;   ///< one sentence, without its full stop
  /// Stores the value, or leaves the config alone and says what it needs: "expected an integer", "is out of range:
  /// ...".
  std::function<std::string(JobConfig&, const Value&)> set;
  std::function<std::string(const JobConfig&)> print;  ///< the value as TOML

  [[nodiscard]] std::string id() const { return section + '.' + name; }
};

struct Range {
  double low = 0.0, high = std::numeric_limits<double>::infinity();
  bool above_low = false, below_high = false;  ///< true: the end itself is not allowed

  [[nodiscard]] bool contains(double value) const;
  [[nodiscard]] std::string text() const;  ///< "1 or more", "greater than 0", "0 to 1", "at least 0 and below 1"
};

[[nodiscard]] constexpr Range at_least(double low) { return {low}; }
[[nodiscard]] constexpr Range between(double low, double high) { return {low, high}; }
[[nodiscard]] constexpr Range positive() { return {0.0, std::numeric_limits<double>::infinity(), true}; }
[[nodiscard]] constexpr Range fraction_below_one() { return {0.0, 1.0, false, true}; }

struct KeyText {
  std::string unit, help;
};

using Choices = std::vector<std::string>;
using Numbers = std::array<double, 2>;
using Integers = std::vector<std::int64_t>;

// How each type reads and prints, apart from where it is stored. The functions return a complaint, or "" when the value
// is good.
[[nodiscard]] std::string read_integer(const Value& value, const Range& range, std::int64_t& out);
[[nodiscard]] std::string read_number(const Value& value, const Range& range, double& out);
[[nodiscard]] std::string read_boolean(const Value& value, bool& out);
[[nodiscard]] std::string read_text(const Value& value, const Choices& choices, std::string& out);
[[nodiscard]] std::string read_integers(const Value& value, const Range& range, std::size_t count, Integers& out);
[[nodiscard]] std::string read_numbers(const Value& value, const Range& range, Numbers& out);
[[nodiscard]] std::string expected(const std::string& what, const Value& value);
[[nodiscard]] std::string choices_text(const Choices& choices);
[[nodiscard]] std::string print_integers(const Integers& values);
[[nodiscard]] std::string print_numbers(const Numbers& values);

}  // namespace ballast
