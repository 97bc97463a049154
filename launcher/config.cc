#include "launcher/config.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "compute/error.h"
#include "launcher/cross_checks.h"
#include "launcher/schema.h"
#include "launcher/suggestion.h"
#include "launcher/toml_reader.h"

namespace ballast {
namespace {

constexpr std::size_t kLargestJobFile = 1 << 20;  // bytes
constexpr std::string_view kPrefix = "BALLAST_";

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

/// Applies settings to a config, remembers where each key was set last, and gathers every mistake.
class Loader {
 public:
  explicit Loader(std::string name) : name_(std::move(name)) {}

  void add_text(const std::string& text) {
    const TomlContent content = read_toml(text, name_);
    errors_.insert(errors_.end(), content.errors.begin(), content.errors.end());
    readable_ = content.errors.empty();
    for (const Setting& setting : content.settings) {
      const bool header = setting.key.empty();
      if (setting.section.empty()) {
        report_outside(setting);
      } else if (is_section(setting.section) && !header) {
        set(setting);
      } else if (!is_section(setting.section) && header) {  // one complaint, not one for each of its keys
        report(setting.key_place, unknown_section(setting.section));
      }
    }
  }

  void add_environment(const std::vector<std::string>& environment) {
    std::vector<std::string> ours;
    std::copy_if(environment.begin(), environment.end(), std::back_inserter(ours),
                 [](const std::string& variable) { return variable.starts_with(kPrefix); });
    std::sort(ours.begin(), ours.end());
    for (const std::string& variable : ours) {
      const std::size_t equals = std::min(variable.find('='), variable.size());
      const std::string name = variable.substr(0, equals);
      const std::string words = lower(name.substr(kPrefix.size()));
      const std::size_t split = std::min(words.find('_'), words.size());
      const std::string key = split == words.size() ? "" : words.substr(split + 1);
      const std::string value = equals == variable.size() ? "" : variable.substr(equals + 1);
      apply({words.substr(0, split), key, read_bare_value(value), name, name});
    }
  }

  void add_arguments(const std::vector<std::string>& arguments) {
    for (const std::string& argument : arguments) {
      const std::string place = "argument '" + argument + "'";
      const std::size_t equals = argument.find('=');
      const std::size_t dot = argument.find('.');
      if (equals == std::string::npos || dot == std::string::npos || dot > equals) {
        report(place, "expected section.key=value, such as optimizer.lr=3e-4");
        continue;
      }
      const std::string key = argument.substr(dot + 1, equals - dot - 1);
      apply({argument.substr(0, dot), key, read_bare_value(argument.substr(equals + 1)), place, place});
    }
  }

  JobConfig finish(ConfigUse use) {
    // After a syntax error half of the keys are unknown; rules between keys would complain about what is not so.
    if (readable_) {
      for (const CrossError& error : cross_check(config_, use)) {
        if (!failed_.contains(error.key)) report(place_of(error.key), error.message);
      }
    }
    if (errors_.empty()) return config_;
    std::string message;
    if (errors_.size() > 1) message = std::to_string(errors_.size()) + " mistakes in the configuration:";
    for (const std::string& error : errors_) message += (message.empty() ? "" : "\n") + error;
    throw ConfigError(message);
  }

 private:
  void report(const std::string& place, const std::string& message) { errors_.push_back(place + ": " + message); }

  static bool is_section(const std::string& name) {
    const auto& sections = schema_sections();
    return std::any_of(sections.begin(), sections.end(), [&](const auto& s) { return s.name == name; });
  }

  void apply(const Setting& setting) {
    if (is_section(setting.section)) {
      set(setting);
    } else {
      report(setting.key_place, unknown_section(setting.section));
    }
  }

  void set(const Setting& setting) {
    const Key* key = find_key(setting.section, setting.key);
    if (key == nullptr) return report(setting.key_place, unknown_key(setting.section, setting.key));
    const std::string complaint = key->set(config_, setting.value);
    if (!complaint.empty()) {
      report(setting.value_place, key->id() + ": " + complaint);
      failed_.insert(key->id());
    }
    places_[key->id()] = setting.value_place;
  }

  void report_outside(const Setting& setting) {
    const std::string& name = setting.key;
    if (is_section(name)) return report(setting.key_place, "'" + name + "' is a section; write it as [" + name + "]");
    std::string homes;
    for (const Key& key : schema()) {
      if (key.name == name) homes += (homes.empty() ? "; write it under [" : " or [") + key.section + "]";
    }
    report(setting.key_place, "key '" + name + "' stands in no section" + homes);
  }

  [[nodiscard]] std::string place_of(const std::string& id) const {
    const auto found = places_.find(id);
    if (found != places_.end()) return found->second;
    return name_;
  }

  std::string name_;
  JobConfig config_;
  std::map<std::string, std::string> places_;  // where each key was set last
  std::set<std::string> failed_;               // keys with a bad value: nothing more is said about them
  std::vector<std::string> errors_;
  bool readable_ = true;
};

std::string read_job_file(const std::string& path) {
  const auto fail = [&](const std::string& why) { throw ConfigError(path + ": " + why); };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) fail("is a folder; name the job file in it");
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(std::string("cannot be read: ") + std::strerror(errno) + "; name a job file, see examples/");
  std::string text(kLargestJobFile + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kLargestJobFile) fail("is larger than 1 MiB, so it is hardly a job file");
  return text;
}

}  // namespace

JobConfig config_from_text(const std::string& text, const std::string& name, const ConfigSources& sources) {
  Loader loader(name);
  loader.add_text(text);
  loader.add_environment(sources.environment);
  loader.add_arguments(sources.arguments);
  return loader.finish(sources.use);
}

JobConfig load_config(const std::string& path, const ConfigSources& sources) {
  if (path.empty()) return config_from_text("", "defaults", sources);
  return config_from_text(read_job_file(path), path, sources);
}

std::string print_config(const JobConfig& config) {
  std::string text, section;
  for (const Key& key : schema()) {
    if (key.section != section) {
      section = key.section;
      text += (text.empty() ? "[" : "\n[") + section + "]\n";
    }
    text += key.name + " = " + key.print(config) + '\n';
  }
  return text;
}

std::vector<std::string> process_environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  return variables;
}

}  // namespace ballast
