#include "launcher/reference.h"

#include <algorithm>

#include "launcher/schema.h"

namespace ballast {
namespace {

// "integer, 0 or more, in steps; default 0"
std::string facts(const Key& key) {
  return key.type + (key.range.empty() ? "" : ", " + key.range) + (key.unit.empty() ? "" : ", in " + key.unit) +
         "; default " + key.print(JobConfig{});
}

// Breaks a text into lines of at most `width` columns, each after `indent`.
std::string wrapped(const std::string& text, const std::string& indent, std::size_t width) {
  std::string out, line;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word = text.substr(begin, end - begin);
    if (!line.empty() && indent.size() + line.size() + 1 + word.size() > width) {
      out += indent + line + '\n';
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    begin = end + 1;
  }
  return out + indent + line + '\n';
}

std::string key_help(const Key& key, const std::string& title) {
  constexpr std::size_t kWidth = 100;
  return "  " + title + "  (" + facts(key) + ")\n" + wrapped(key.help, "      ", kWidth);
}

std::string section_help(const SectionText& section) {
  std::string text = "[" + section.name + "]  " + section.help + "\n";
  for (const Key& key : schema()) {
    if (key.section == section.name) text += key_help(key, key.name);
  }
  return text;
}

// A "|" would end a cell of a table.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

}  // namespace

std::string all_keys_help() {
  std::string text;
  for (const SectionText& section : schema_sections()) text += (text.empty() ? "" : "\n") + section_help(section);
  return text;
}

std::string topic_help(const std::string& topic) {
  for (const SectionText& section : schema_sections()) {
    if (section.name == topic) return section_help(section);
  }
  std::string text;
  for (const Key& key : schema()) {
    if (key.id() == topic || key.name == topic) text += key_help(key, key.id());
  }
  return text;
}

std::vector<std::string> help_topics() {
  std::vector<std::string> topics;
  for (const SectionText& section : schema_sections()) topics.push_back(section.name);
  for (const Key& key : schema()) {
    topics.push_back(key.id());
    topics.push_back(key.name);
  }
  return topics;
}

std::string config_markdown() {
  std::string text =
      "# Keys of a job file\n\n"
      "Made by `ballast config --markdown` from `launcher/schema.cc`; a test compares the two.\n\n"
      "A job file is TOML. Later sources win: defaults, the file, variables (`BALLAST_OPTIMIZER_LR=3e-4`), arguments\n"
      "(`optimizer.lr=3e-4` or `--optimizer.lr=3e-4`; quotes around texts may be left out). Unknown keys, wrong types "
      "and values\n"
      "out of range are errors, reported all at once with file, line and column (exit code 78). Paths are relative to "
      "the current\n"
      "directory. A duration is a text such as `\"3h50m\"`, `\"10min\"` or `\"90s\"`, of days `d`, hours `h`, minutes "
      "`min` or `m`,\n"
      "and seconds `s`. `ballast config JOB.toml` prints a job file with every key resolved.\n";
  for (const SectionText& section : schema_sections()) {
    text +=
        "\n## [" + section.name + "]\n\n" + section.help + ".\n\n| key | type | allowed | unit | default | meaning |\n";
    text += "|---|---|---|---|---|---|\n";
    for (const Key& key : schema()) {
      if (key.section != section.name) continue;
      text += "| `" + key.name + "` | " + key.type + " | " + cell(key.range) + " | " + key.unit + " | `" +
              cell(key.print(JobConfig{})) + "` | " + cell(key.help) + " |\n";
    }
  }
  return text;
}

std::string commented_defaults() {
  std::string text = "# A job of Ballast with every key at its default. Lines may be left out.\n";
  for (const SectionText& section : schema_sections()) {
    text += "\n# " + section.help + ".\n[" + section.name + "]\n";
    for (const Key& key : schema()) {
      if (key.section != section.name) continue;
      text += wrapped(key.help, "# ", 100) + wrapped("(" + facts(key) + ")", "# ", 100);
      text += key.name + " = " + key.print(JobConfig{}) + '\n';
    }
  }
  return text;
}

}  // namespace ballast
