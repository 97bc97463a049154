// Defines: TomlContent, read_toml, read_bare_value: TOML text as plain settings. Wraps toml++.
#pragma once

#include <string>
#include <vector>

#include "launcher/value.h"

namespace ballast {

struct TomlContent {
  /// A section has an entry with an empty key (for its place), then one entry per key. A key outside any section has an
  /// empty section.
  std::vector<Setting> settings;
  std::vector<std::string> errors;  ///< syntax errors and duplicate keys: "job.toml:3:1: ..."
};

/// `name` stands in front of every place.
[[nodiscard]] TomlContent read_toml(const std::string& text, const std::string& name);

/// A value as typed on a command line: TOML, or else a text without its quotes.
[[nodiscard]] Value read_bare_value(const std::string& text);

}  // namespace ballast
