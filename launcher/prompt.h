// Defines: prompt_tokens, token_text: between what a person types and reads and what a model eats.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ballast {

/// A text's bytes; where a job's data are tokens of another tool ("tokens"), numbers with blanks or commas between
/// them. ConfigError when it is empty, or a token is not below `vocabulary`.
[[nodiscard]] std::vector<std::int32_t> prompt_tokens(const std::string& prompt, const std::string& format,
                                                      std::int64_t vocabulary);
/// The byte, or the number with a blank.
[[nodiscard]] std::string token_text(std::int32_t token, const std::string& format);

}  // namespace ballast
