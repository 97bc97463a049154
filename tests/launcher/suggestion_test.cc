#include "launcher/suggestion.h"

#include <gtest/gtest.h>

namespace ballast {
namespace {

TEST(Suggestion, CountsInsertionsDeletionsSubstitutionsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("", "ab"), 2U);
  EXPECT_EQ(edit_distance("momentum", "momentun"), 1U);
  EXPECT_EQ(edit_distance("trian", "train"), 1U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
}

TEST(Suggestion, NamesTheNearestWord) {
  EXPECT_EQ(suggestion("trian", {"eval", "train", "plan"}), "train");
  EXPECT_EQ(suggestion("optim", {"job", "optimizer"}), "optimizer");
}

TEST(Suggestion, IsSilentWhenNothingIsNear) {
  EXPECT_EQ(suggestion("zebra", {"eval", "train"}), "");
  EXPECT_EQ(suggestion("x", {"lr", "l1"}), "");
  EXPECT_EQ(suggestion("", {"lr"}), "");
  EXPECT_EQ(suggestion("word", {}), "");
}

}  // namespace
}  // namespace ballast
