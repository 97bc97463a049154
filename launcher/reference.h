// Defines: texts about the keys of a job file, all made from the schema.
#pragma once

#include <string>
#include <vector>

namespace ballast {

/// Every section with its keys, for the terminal.
[[nodiscard]] std::string all_keys_help();
/// Help on a section ("optimizer"), a key ("optimizer.lr") or all keys of a name ("every"); "" for anything else.
[[nodiscard]] std::string topic_help(const std::string& topic);
[[nodiscard]] std::vector<std::string> help_topics();

/// docs/config.md.
[[nodiscard]] std::string config_markdown();
/// A job file of all defaults, each with its help as a comment.
[[nodiscard]] std::string commented_defaults();

}  // namespace ballast
