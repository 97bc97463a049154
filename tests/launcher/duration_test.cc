#include "launcher/duration.h"

#include <gtest/gtest.h>

namespace ballast {
namespace {

TEST(Duration, ReadsEveryUnitAndTheirSums) {
  EXPECT_EQ(parse_duration("90"), 90.0);
  EXPECT_EQ(parse_duration("90s"), 90.0);
  EXPECT_EQ(parse_duration("10min"), 600.0);
  EXPECT_EQ(parse_duration("10m"), 600.0);
  EXPECT_EQ(parse_duration("3h50m"), 13800.0);
  EXPECT_EQ(parse_duration("1.5h"), 5400.0);
  EXPECT_EQ(parse_duration("2d12h"), 216000.0);
  EXPECT_EQ(parse_duration("0"), 0.0);
}

TEST(Duration, RefusesEverythingElse) {
  for (const char* text :
       {"", " ", "h", "10 min", "10minutes", "-5s", "5h-3m", "5h3", "inf", "nan", "1e300s", "10M", "3h50mx"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Duration, WrittenTextReadsBackToTheSameNumber) {
  EXPECT_EQ(format_duration(0.0), "0s");
  EXPECT_EQ(format_duration(600.0), "10min");
  EXPECT_EQ(format_duration(13800.0), "3h50min");
  EXPECT_EQ(format_duration(90061.0), "1d1h1min1s");
  EXPECT_EQ(format_duration(0.25), "0.25s");
  for (const double seconds : {0.0, 1.0, 59.0, 0.1, 1.0 / 3.0, 1e-7, 86399.0, 1e9, 12345.678}) {
    EXPECT_EQ(parse_duration(format_duration(seconds)), seconds) << format_duration(seconds);
  }
}

}  // namespace
}  // namespace ballast
