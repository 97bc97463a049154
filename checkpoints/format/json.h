// Defines: parse_json and what checks its members: strict JSON for files that may come from anywhere.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

namespace ballast {

/// Objects keep no order; duplicate keys, more than 8 levels, and anything that is not valid UTF-8 JSON are DataErrors
/// that begin with `path`.
[[nodiscard]] nlohmann::json parse_json(const std::string& text, const std::string& path);

/// A JSON value together with the words that an error about it begins with ("…/manifest.json: tensor 3").
class JsonView {
 public:
  JsonView(const nlohmann::json& value, std::string where) : value_(&value), where_(std::move(where)) {}

  [[nodiscard]] JsonView member(const char* key) const;
  [[nodiscard]] JsonView element(std::size_t index) const;
  [[nodiscard]] std::size_t array_size() const;  ///< DataError unless it is an array
  /// DataError unless it is an object with these members and no others.
  void require_members(std::initializer_list<const char*> keys) const;
  /// A whole number, no sign, no fraction, at most `most`.
  [[nodiscard]] std::int64_t number(std::int64_t most = INT64_MAX) const;
  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::string digest() const;
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const nlohmann::json* value_;
  std::string where_;
};

}  // namespace ballast
