#include "runtime/fragment_borders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace ballast {
namespace {

using testing::ElementsAre;

ParameterTable sized(const std::vector<std::int64_t>& sizes) {
  ParameterTable parameters;
  for (const std::int64_t size : sizes) {
    parameters.add("p" + std::to_string(parameters.count()), Shape{size}, ParameterKind::kTrained, Initializer{},
                   DType::kF32);
  }
  return parameters;
}

TEST(FragmentBorders, CutWhereSizesAreAboutEqual) {
  EXPECT_THAT(fragment_borders(sized({64, 64, 64, 64}), 1), ElementsAre(0, 4));
  EXPECT_THAT(fragment_borders(sized({64, 64, 64, 64}), 2), ElementsAre(0, 2, 4));
  EXPECT_THAT(fragment_borders(sized({320, 64, 64, 64}), 2), ElementsAre(0, 1, 4));
}

TEST(FragmentBorders, LeaveNoFragmentEmpty) {
  EXPECT_THAT(fragment_borders(sized({64, 64}), 100), ElementsAre(0, 1, 2));
  EXPECT_THAT(fragment_borders(sized({64, 64, 384}), 4), ElementsAre(0, 2, 3));
}

}  // namespace
}  // namespace ballast
