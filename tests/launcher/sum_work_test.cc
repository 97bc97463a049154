#include "launcher/plan/sum_work.h"

#include <gtest/gtest.h>

namespace ballast {
namespace {

constexpr double kElements = 1000.0, kCode = 1100.0;

TEST(SumWork, ASingleSumLeavesFromWhereItIs) { EXPECT_EQ(SumWork{}.before_sending(kElements, 4.0 * kElements), 0.0); }

TEST(SumWork, ANodeAddsUpWhatItCanBeforeItSends) {
  EXPECT_EQ((SumWork{.parts = 4, .subtrees = 1}.before_sending(kElements, 4.0 * kElements)), 4.0 * kElements * 5);
}

TEST(SumWork, AnOwnerReadsAllAndWritesTheSum) {
  EXPECT_EQ(SumWork{}.in_the_end(kElements, 0.0, 3.0), 4.0 * kElements * 5);
  EXPECT_EQ((SumWork{.parts = 2, .subtrees = 1}.in_the_end(kElements, 0.0, 3.0)), 4.0 * kElements * 6);
  EXPECT_EQ(SumWork{}.in_the_end(kElements, 0.0, 0.0), 4.0 * kElements) << "nothing to add: the norm reads it";
}

TEST(SumWork, CodingReadsASumAndItsErrorAndWritesErrorAndCode) {
  EXPECT_EQ((SumWork{.coded = true, .errors = true}.before_sending(kElements, kCode)), 12.0 * kElements + kCode);
  EXPECT_EQ((SumWork{.coded = true}.before_sending(kElements, kCode)), 4.0 * kElements + kCode);
  EXPECT_EQ((SumWork{.parts = 4, .subtrees = 2, .coded = true}.before_sending(kElements, kCode)),
            4.0 * kElements * (4 + 2 * 2) + 2 * kCode)
      << "two sums of two parts are put down before";
}

TEST(SumWork, AnOwnerCodesItsOwnSumsTooAndDecodesAll) {
  // Codes its own; reads four codes, writes what they stand for; adds these up.
  EXPECT_EQ((SumWork{.coded = true, .errors = true}.in_the_end(kElements, kCode, 3.0)),
            12.0 * kElements + kCode + 4 * (kCode + 4.0 * kElements) + 5 * 4.0 * kElements);
}

}  // namespace
}  // namespace ballast
