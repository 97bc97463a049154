#include "launcher/number_text.h"

#include <gtest/gtest.h>

namespace ballast {
namespace {

TEST(NumberText, IsTheShortestThatReadsBack) {
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(0.1F), "0.1");
  EXPECT_EQ(number_text(1.0 / 3.0), "0.3333333333333333");
  EXPECT_EQ(toml_number("8"), "8.0");
  EXPECT_EQ(toml_number("-8"), "-8.0");
  EXPECT_EQ(toml_number("1e-08"), "1e-08");
}

TEST(NumberText, QuotesTextsForToml) { EXPECT_EQ(toml_string("a\"b\\c\n\x7f ü"), "\"a\\\"b\\\\c\\u000A\\u007F ü\""); }

TEST(NumberText, SpeaksToPeople) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1023), "1023 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(3.0 * 1024 * 1024 * 1024), "3.0 GiB");
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(count_text(-1234567), "-1,234,567");
  EXPECT_EQ(seconds_text(42.4), "42s");
  EXPECT_EQ(seconds_text(192), "3m12s");
  EXPECT_EQ(seconds_text(7500), "2h05m");
  EXPECT_EQ(seconds_text(-1), "0s");
  EXPECT_EQ(seconds_text(1e300), "?");
}

}  // namespace
}  // namespace ballast
