#include "launcher/prompt.h"

#include <gtest/gtest.h>

#include "compute/error.h"

namespace ballast {
namespace {

using Tokens = std::vector<std::int32_t>;

TEST(Prompt, IsBytesForText) {
  EXPECT_EQ(prompt_tokens("Aü", "text", 256), (Tokens{65, 0xC3, 0xBC}));
  EXPECT_EQ(token_text(0xC3, "text"), "\xC3");
}

TEST(Prompt, IsNumbersForTokens) {
  EXPECT_EQ(prompt_tokens(" 464, 3290\n7", "tokens", 50257), (Tokens{464, 3290, 7}));
  EXPECT_EQ(token_text(464, "tokens"), "464 ");
}

TEST(Prompt, RefusesWhatTheModelCannotRead) {
  EXPECT_THROW((void)prompt_tokens("", "text", 256), ConfigError);
  EXPECT_THROW((void)prompt_tokens("z", "text", 100), ConfigError);
  EXPECT_THROW((void)prompt_tokens("12 dog", "tokens", 100), ConfigError);
  EXPECT_THROW((void)prompt_tokens("-3", "tokens", 100), ConfigError);
  EXPECT_THROW((void)prompt_tokens("100", "tokens", 100), ConfigError);
  EXPECT_THROW((void)prompt_tokens(" , ", "tokens", 100), ConfigError);
}

}  // namespace
}  // namespace ballast
