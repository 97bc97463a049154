#include "launcher/key.h"

#include <cmath>

#include "launcher/number_text.h"
#include "launcher/suggestion.h"

namespace ballast {
namespace {

std::string out_of_range(const Value& value, const Range& range) {
  return value.written + " is out of range: allowed is " + range.text();
}

// "1000000000", not "1e+09": bounds are mostly counts.
std::string bound_text(double bound) {
  const bool whole = bound == std::floor(bound) && std::fabs(bound) < 1e15;
  return whole ? std::to_string(static_cast<std::int64_t>(bound)) : number_text(bound);
}

}  // namespace

bool Range::contains(double value) const {
  const bool above = above_low ? value > low : value >= low;
  const bool below = below_high ? value < high : value <= high;
  return above && below;
}

std::string Range::text() const {
  const std::string from = bound_text(low);
  const std::string to = bound_text(high);
  if (std::isinf(high)) return above_low ? "greater than " + from : from + " or more";
  if (!above_low && !below_high) return from + " to " + to;
  return (above_low ? "greater than " : "at least ") + from + " and " + (below_high ? "below " : "at most ") + to;
}

std::string expected(const std::string& what, const Value& value) {
  const std::string got = value.text() != nullptr ? "the text \"" + *value.text() + '"' : value.written;
  return "expected " + what + ", got " + got;
}

std::string read_integer(const Value& value, const Range& range, std::int64_t& out) {
  constexpr double kExactIntegers = 9007199254740992.0;  // 2^53
  if (const double* number = value.number(); number != nullptr) {
    const bool whole = *number == std::floor(*number) && std::fabs(*number) <= kExactIntegers;
    const std::string hint = whole ? "; write " + std::to_string(static_cast<std::int64_t>(*number)) : "";
    return expected("an integer", value) + hint;
  }
  if (value.integer() == nullptr) return expected("an integer", value);
  if (!range.contains(static_cast<double>(*value.integer()))) return out_of_range(value, range);
  out = *value.integer();
  return "";
}

std::string read_number(const Value& value, const Range& range, double& out) {
  if (value.number() == nullptr && value.integer() == nullptr) return expected("a number", value);
  const double number = value.number() != nullptr ? *value.number() : static_cast<double>(*value.integer());
  if (!std::isfinite(number) || !range.contains(number)) return out_of_range(value, range);
  out = number;
  return "";
}

std::string read_boolean(const Value& value, bool& out) {
  if (value.boolean() == nullptr) return expected("true or false", value);
  out = *value.boolean();
  return "";
}

std::string read_text(const Value& value, const Choices& choices, std::string& out) {
  if (value.text() == nullptr && !value.bare) return expected("a text in quotes", value);
  const std::string& text = value.text() != nullptr ? *value.text() : value.written;
  bool known = choices.empty();
  for (const std::string& choice : choices) known = known || choice == text;
  if (!known) {
    const std::string near = suggestion(text, choices);
    const std::string hint = near.empty() ? "" : "; did you mean \"" + near + "\"?";
    return '"' + text + "\" is not one of " + choices_text(choices) + hint;
  }
  out = text;
  return "";
}

std::string read_integers(const Value& value, const Range& range, std::size_t count, Integers& out) {
  const std::string what = count == 0 ? "a list of integers" : "a list of " + std::to_string(count) + " integers";
  if (value.list() == nullptr || (count != 0 && value.list()->size() != count)) return expected(what, value);
  Integers integers;
  for (const Value& item : *value.list()) {
    const std::string complaint = read_integer(item, range, integers.emplace_back());
    if (!complaint.empty()) return complaint + ", in " + value.written;
  }
  out = integers;
  return "";
}

std::string read_numbers(const Value& value, const Range& range, Numbers& out) {
  if (value.list() == nullptr || value.list()->size() != out.size()) return expected("a list of 2 numbers", value);
  Numbers numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::string complaint = read_number((*value.list())[i], range, numbers[i]);
    if (!complaint.empty()) return complaint + ", in " + value.written;
  }
  out = numbers;
  return "";
}

std::string choices_text(const Choices& choices) {
  std::string text;
  for (const std::string& choice : choices) text += (text.empty() ? "\"" : ", \"") + choice + '"';
  return text;
}

std::string print_integers(const Integers& values) {
  std::string text;
  for (const std::int64_t value : values) text += (text.empty() ? "" : ", ") + std::to_string(value);
  return '[' + text + ']';
}

std::string print_numbers(const Numbers& values) {
  return '[' + toml_number(number_text(values[0])) + ", " + toml_number(number_text(values[1])) + ']';
}

}  // namespace ballast
