#include "launcher/prompt.h"

#include <algorithm>
#include <charconv>

#include "compute/error.h"

namespace ballast {
namespace {

bool is_number_format(const std::string& format) { return format == "tokens"; }

std::int32_t parse_token(const std::string& word) {
  std::int32_t token = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), token);
  if (error != std::errc{} || end != word.data() + word.size() || token < 0) {
    throw ConfigError("--prompt: '" + word +
                      "' is not a token: this model was trained on numbered tokens, so its prompt is " +
                      "numbers, such as '464 3290'");
  }
  return token;
}

std::vector<std::int32_t> parse_numbers(std::string prompt) {
  std::replace_if(
      prompt.begin(), prompt.end(), [](char c) { return c == ',' || c == '\n' || c == '\t'; }, ' ');
  std::vector<std::int32_t> tokens;
  for (std::size_t begin = 0; begin < prompt.size();) {
    const std::size_t end = std::min(prompt.find(' ', begin), prompt.size());
    if (end > begin) tokens.push_back(parse_token(prompt.substr(begin, end - begin)));
    begin = end + 1;
  }
  return tokens;
}

}  // namespace

std::vector<std::int32_t> prompt_tokens(const std::string& prompt, const std::string& format, std::int64_t vocabulary) {
  std::vector<std::int32_t> tokens;
  if (is_number_format(format)) {
    tokens = parse_numbers(prompt);
  } else {
    for (const char c : prompt) tokens.push_back(static_cast<unsigned char>(c));
  }
  if (tokens.empty()) throw ConfigError("--prompt: is empty; give at least one token to go on from");
  const std::int32_t largest = *std::max_element(tokens.begin(), tokens.end());
  if (largest >= vocabulary) {
    throw ConfigError("--prompt: token " + std::to_string(largest) + " is outside the model's vocabulary of " +
                      std::to_string(vocabulary));
  }
  return tokens;
}

std::string token_text(std::int32_t token, const std::string& format) {
  if (is_number_format(format)) return std::to_string(token) + ' ';
  return {static_cast<char>(static_cast<unsigned char>(token))};
}

}  // namespace ballast
