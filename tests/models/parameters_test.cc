#include "models/parameters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace ballast {
namespace {

Parameter parameter(Initializer initializer, const std::string& name = "w", std::int64_t size = 100003) {
  return {.name = name, .shape = {size}, .initializer = initializer, .size = size};
}

std::vector<float> values(const Parameter& p, std::uint64_t seed, std::int64_t begin, std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count));
  initial_values(p, seed, begin, out);
  return out;
}

double mean(const std::vector<float>& x) {
  double sum = 0.0;
  for (const float v : x) sum += static_cast<double>(v);
  return sum / static_cast<double>(x.size());
}

double deviation(const std::vector<float>& x) {
  double sum = 0.0;
  for (const float v : x) sum += std::pow(static_cast<double>(v), 2);
  return std::sqrt(sum / static_cast<double>(x.size()) - mean(x) * mean(x));
}

TEST(InitialValues, DoNotDependOnTheRangesTheyAreAskedIn) {
  for (const auto kind : {Initializer::Kind::kNormal, Initializer::Kind::kXavier, Initializer::Kind::kHe}) {
    const Parameter p = parameter({kind, 1.0F, 10, 20}, "w", 1000);
    const std::vector<float> whole = values(p, 3, 0, 1000);
    for (std::int64_t begin = 0, count = 1; begin < 1000;
         begin += count, count = std::min<std::int64_t>(count + 2, 1000 - begin)) {
      const std::vector<float> part = values(p, 3, begin, std::min(count, 1000 - begin));
      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + begin)) << "from " << begin;
    }
  }
}

TEST(InitialValues, HaveTheSpreadOfTheirInitializer) {
  const auto normal = values(parameter({Initializer::Kind::kNormal, 0.02F, 0, 0}), 1, 0, 100003);
  EXPECT_NEAR(mean(normal), 0.0, 3e-4);
  EXPECT_NEAR(deviation(normal), 0.02, 2e-4);
  const auto he = values(parameter({Initializer::Kind::kHe, 2.0F, 50, 9}), 1, 0, 100003);
  EXPECT_NEAR(deviation(he), 2.0 * std::sqrt(2.0 / 50.0), 4e-3);
  const auto xavier = values(parameter({Initializer::Kind::kXavier, 1.0F, 50, 10}), 1, 0, 100003);
  const double limit = std::sqrt(6.0 / 60.0);
  EXPECT_NEAR(deviation(xavier), limit / std::sqrt(3.0), 2e-3);
  EXPECT_LE(std::abs(*std::max_element(xavier.begin(), xavier.end())), limit);
  EXPECT_EQ(values(parameter({Initializer::Kind::kConstant, 1.5F, 0, 0}), 1, 7, 2), (std::vector<float>{1.5F, 1.5F}));
}

TEST(InitialValues, DifferByNameAndSeed) {
  const Initializer normal{Initializer::Kind::kNormal, 1.0F, 0, 0};
  const auto base = values(parameter(normal, "a"), 1, 0, 8);
  EXPECT_NE(base, values(parameter(normal, "b"), 1, 0, 8));
  EXPECT_NE(base, values(parameter(normal, "a"), 2, 0, 8));
  EXPECT_EQ(base, values(parameter(normal, "a"), 1, 0, 8));
}

TEST(ParameterTable, LaysParametersOutInOrderOnCacheLines) {
  ParameterTable table;
  EXPECT_EQ(table.add("a", {3, 7}, ParameterKind::kTrained, {}, DType::kBF16), 0);
  EXPECT_EQ(table.add("b", {16}, ParameterKind::kStatistic, {}, DType::kF32), 1);
  EXPECT_EQ(table.add("c", {1}, ParameterKind::kTrained, {}, DType::kF32), 2);
  EXPECT_EQ(table[1].offset, 32);
  EXPECT_EQ(table[2].offset, 48);
  EXPECT_EQ(table.flat_size(), 64);
  EXPECT_EQ(table.trained_elements(), 22);
  EXPECT_EQ(table.find("c"), 2);
  EXPECT_EQ(table.find("d"), -1);
  EXPECT_TRUE(table[0].decays());
  EXPECT_FALSE(table[1].decays());
  EXPECT_FALSE(table[2].decays());
}

TEST(ParameterTable, RefusesANameTwice) {
  ParameterTable table;
  table.add("a", {1}, ParameterKind::kTrained, {}, DType::kF32);
  EXPECT_THROW(table.add("a", {2}, ParameterKind::kTrained, {}, DType::kF32), Error);
}

}  // namespace
}  // namespace ballast
