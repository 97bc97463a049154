#include "launcher/schema.h"
#include "launcher/suggestion.h"

namespace ballast {
namespace {

std::vector<std::string> names_in(const std::string& section) {
  std::vector<std::string> names;
  for (const Key& key : schema()) {
    if (key.section == section) names.push_back(key.name);
  }
  return names;
}

std::vector<std::string> sections_with(const std::string& name) {
  std::vector<std::string> sections;
  for (const Key& key : schema()) {
    if (key.name == name) sections.push_back('[' + key.section + ']');
  }
  return sections;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

const Key* find_key(const std::string& section, const std::string& name) {
  for (const Key& key : schema()) {
    if (key.section == section && key.name == name) return &key;
  }
  return nullptr;
}

std::string unknown_section(const std::string& section) {
  std::vector<std::string> names;
  for (const SectionText& known : schema_sections()) names.push_back(known.name);
  const std::string near = suggestion(section, names);
  const std::string hint = near.empty() ? "sections are " + joined(names) : "did you mean [" + near + "]?";
  return "unknown section [" + section + "]; " + hint;
}

std::string unknown_key(const std::string& section, const std::string& name) {
  const std::string start = "unknown key '" + name + "' in [" + section + "]; ";
  const std::vector<std::string> homes = sections_with(name);
  if (!homes.empty()) return start + "it belongs in " + joined(homes);
  const std::vector<std::string> names = names_in(section);
  const std::string near = suggestion(name, names);
  if (!near.empty()) return start + "did you mean '" + near + "'?";
  return start + "its keys are " + joined(names);
}

}  // namespace ballast
