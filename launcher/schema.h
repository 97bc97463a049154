// Defines: schema and look-ups in it: the one table of a job file's keys. Parsing, ranges, defaults, printing, help and
// docs/config.md come from it, so that they cannot disagree.
#pragma once

#include <string>
#include <vector>

#include "launcher/key.h"

namespace ballast {

struct SectionText {
  std::string name, help;
};

/// Sections in the order of a job file.
[[nodiscard]] const std::vector<SectionText>& schema_sections();
/// Keys, section by section.
[[nodiscard]] const std::vector<Key>& schema();
/// nullptr when there is no such key.
[[nodiscard]] const Key* find_key(const std::string& section, const std::string& name);

/// Why a setting's section or key is unknown and what may have been meant: "unknown key 'ler' in [optimizer]; did you
/// mean 'lr'?"
[[nodiscard]] std::string unknown_section(const std::string& section);
[[nodiscard]] std::string unknown_key(const std::string& section, const std::string& name);

}  // namespace ballast
