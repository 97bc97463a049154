#include "launcher/reference.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "launcher/config.h"
#include "launcher/schema.h"

namespace ballast {
namespace {

TEST(Reference, DocumentedKeysAreTheProgramsKeys) {
  std::ostringstream documented;
  documented << std::ifstream("docs/config.md").rdbuf();
  EXPECT_EQ(documented.str(), config_markdown()) << "run: ballast config --markdown > docs/config.md";
}

TEST(Reference, CommentedDefaultsAreAJobFile) {
  const JobConfig config = config_from_text(commented_defaults(), "defaults", {});
  EXPECT_EQ(print_config(config), print_config(JobConfig{}));
}

TEST(Reference, KnowsEverySectionAndKey) {
  for (const std::string& topic : help_topics()) EXPECT_NE(topic_help(topic), "") << topic;
  EXPECT_EQ(topic_help("nonsense"), "");
  for (const Key& key : schema()) EXPECT_THAT(all_keys_help(), testing::HasSubstr("  " + key.name + "  (")) << key.id();
}

}  // namespace
}  // namespace ballast
