#include "launcher/toml_reader.h"

#include <toml++/toml.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>

#include "launcher/number_text.h"

namespace ballast {
namespace {

Value value_of(const toml::node& node) {
  if (const auto* boolean = node.as_boolean()) return {boolean->get(), boolean->get() ? "true" : "false"};
  if (const auto* integer = node.as_integer()) return {integer->get(), std::to_string(integer->get())};
  if (const auto* number = node.as_floating_point()) return {number->get(), toml_number(number_text(number->get()))};
  if (const auto* text = node.as_string()) return {text->get(), '"' + text->get() + '"'};
  if (const auto* array = node.as_array()) {
    std::vector<Value> items;
    std::string written = "[";
    for (const toml::node& item : *array) {
      items.push_back(value_of(item));
      written += (items.size() > 1 ? ", " : "") + items.back().written;
    }
    return {std::move(items), written + "]"};
  }
  return {std::monostate{}, node.is_table() ? "a table" : "a date or time"};
}

std::string place(const std::string& name, std::size_t line, std::size_t column) {
  return name + ':' + std::to_string(line) + ':' + std::to_string(column);
}

class Reader {
 public:
  Reader(const std::string& text, std::string name) : name_(std::move(name)) {
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) lines_.push_back(line);
  }

  TomlContent read(const toml::table& root) {
    TomlContent content;
    for (auto&& [key, node] : root) {
      const std::string section{std::string_view(key)};
      const toml::table* table = node.as_table();
      if (table == nullptr) {
        content.settings.push_back(setting("", section, node));
        continue;
      }
      Setting header = setting(section, section, node);
      header.key.clear();
      content.settings.push_back(std::move(header));
      for (auto&& [name, value] : *table) {
        content.settings.push_back(setting(section, std::string{std::string_view(name)}, value));
      }
    }
    return content;
  }

 private:
  Setting setting(const std::string& section, const std::string& key, const toml::node& node) const {
    const auto begin = node.source().begin;
    return {section, key, value_of(node), key_place(key, begin.line, begin.column),
            place(name_, begin.line, begin.column)};
  }

  // toml++ 2 has no positions of keys, only of values; a key stands before its value on the same line.
  std::string key_place(const std::string& key, std::size_t line, std::size_t column) const {
    if (line >= 1 && line <= lines_.size()) {
      const std::size_t found = lines_[line - 1].substr(0, column - 1).rfind(key);
      if (found != std::string::npos) column = found + 1;
    }
    return place(name_, line, column);
  }

  std::string name_;
  std::vector<std::string> lines_;
};

// Inline tables and dotted keys keep toml++'s order of names; a reader of error messages wants the order of the file.
void sort_by_position(std::vector<Setting>& settings) {
  const auto position = [](const Setting& s) {
    const std::size_t column = s.key_place.rfind(':');
    const std::size_t line = s.key_place.rfind(':', column - 1);
    return std::pair(std::stoul(s.key_place.substr(line + 1)), std::stoul(s.key_place.substr(column + 1)));
  };
  std::stable_sort(settings.begin(), settings.end(),
                   [&](const Setting& a, const Setting& b) { return position(a) < position(b); });
}

// The commonest mistake is a text without quotes, which the parser takes for the start of something else.
std::string hint_for(const std::string& description) {
  for (const char* words : {"parsing boolean", "parsing value", "parsing floating-point", "value type"}) {
    if (description.find(words) != std::string::npos) return "; a text needs quotes";
  }
  return "";
}

}  // namespace

TomlContent read_toml(const std::string& text, const std::string& name) {
  try {
    const toml::table root = toml::parse(std::string_view(text), std::string_view(name));
    TomlContent content = Reader(text, name).read(root);
    sort_by_position(content.settings);
    return content;
  } catch (const toml::parse_error& error) {
    const auto begin = error.source().begin;
    const std::string description(error.description());
    return {{}, {place(name, begin.line, begin.column) + ": " + description + hint_for(description)}};
  }
}

Value read_bare_value(const std::string& text) {
  Value value{text, text, true};
  try {
    const toml::table root = toml::parse(std::string_view("value = " + text));
    if (root.size() == 1) value.data = value_of(*root.get("value")).data;
  } catch (const toml::parse_error&) {
    return value;  // not TOML: a text without quotes
  }
  if (std::holds_alternative<std::monostate>(value.data)) value.data = text;
  return value;
}

}  // namespace ballast
