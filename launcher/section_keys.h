// Defines: SectionKeys: declares the keys of one section of JobConfig. Private to schema.cc.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "launcher/key.h"
#include "launcher/number_text.h"

namespace ballast {

/// Adds keys whose values are members of one section of JobConfig.
template <class Section>
class SectionKeys {
 public:
  SectionKeys(std::string name, Section JobConfig::*section, std::vector<Key>& keys)
      : name_(std::move(name)), section_(section), keys_(keys) {}

  void integer(const char* key, std::int64_t Section::*member, Range range, KeyText text) {
    add(
        key, "integer", range.text(), std::move(text),
        [=, s = section_](JobConfig& c, const Value& v) { return read_integer(v, range, c.*s.*member); },
        [=, s = section_](const JobConfig& c) { return std::to_string(c.*s.*member); });
  }
  void number(const char* key, double Section::*member, Range range, KeyText text) {
    add(
        key, "number", range.text(), std::move(text),
        [=, s = section_](JobConfig& c, const Value& v) { return read_number(v, range, c.*s.*member); },
        [=, s = section_](const JobConfig& c) { return toml_number(number_text(c.*s.*member)); });
  }
  void number(const char* key, float Section::*member, Range range, KeyText text) {
    const auto set = [=, s = section_](JobConfig& c, const Value& v) {
      double number = c.*s.*member;
      std::string complaint = read_number(v, range, number);
      c.*s.*member = static_cast<float>(number);
      return complaint;
    };
    add(key, "number", range.text(), std::move(text), set,
        [=, s = section_](const JobConfig& c) { return toml_number(number_text(c.*s.*member)); });
  }
  void boolean(const char* key, bool Section::*member, KeyText text) {
    add(
        key, "true or false", "", std::move(text),
        [=, s = section_](JobConfig& c, const Value& v) { return read_boolean(v, c.*s.*member); },
        [=, s = section_](const JobConfig& c) { return std::string(c.*s.*member ? "true" : "false"); });
  }
  void text(const char* key, std::string Section::*member, const Choices& choices, KeyText text) {
    add(
        key, "text", choices.empty() ? "" : "one of " + choices_text(choices), std::move(text),
        [=, s = section_](JobConfig& c, const Value& v) { return read_text(v, choices, c.*s.*member); },
        [=, s = section_](const JobConfig& c) { return toml_string(c.*s.*member); });
  }
  void integers(const char* key, Integers Section::*member, Range range, std::size_t count, KeyText text) {
    add(
        key, count == 0 ? "list of integers" : "list of " + std::to_string(count) + " integers", range.text() + " each",
        std::move(text),
        [=, s = section_](JobConfig& c, const Value& v) { return read_integers(v, range, count, c.*s.*member); },
        [=, s = section_](const JobConfig& c) { return print_integers(c.*s.*member); });
  }
  void numbers(const char* key, Numbers Section::*member, Range range, KeyText text) {
    add(
        key, "list of 2 numbers", range.text() + " each", std::move(text),
        [=, s = section_](JobConfig& c, const Value& v) { return read_numbers(v, range, c.*s.*member); },
        [=, s = section_](const JobConfig& c) { return print_numbers(c.*s.*member); });
  }
  /// A key with rules of its own: `set` and `print` work on the whole section.
  template <class Set, class Print>
  void special(const char* key, const char* type, const char* range, KeyText text, Set set, Print print) {
    add(
        key, type, range, std::move(text),
        [=, s = section_](JobConfig& c, const Value& v) -> std::string { return set(c.*s, v); },
        [=, s = section_](const JobConfig& c) -> std::string { return print(c.*s); });
  }

 private:
  void add(const char* key, std::string type, std::string range, KeyText text,
           std::function<std::string(JobConfig&, const Value&)> set,
           std::function<std::string(const JobConfig&)> print) {
    keys_.push_back({name_, key, std::move(type), std::move(range), std::move(text.unit), std::move(text.help),
                     std::move(set), std::move(print)});
  }

  std::string name_;
  Section JobConfig::*section_;
  std::vector<Key>& keys_;
};

}  // namespace ballast
