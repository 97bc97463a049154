#include <gtest/gtest.h>

#include <vector>

#include "comm/unordered_sum.h"
#include "tests/support/mpi_world.h"

namespace ballast {
namespace {

TEST(UnorderedSum, IsEveryonesSum) {
  const int rank = mpi_world().rank();
  const int workers = mpi_world().size();
  std::vector<float> values(1000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) + static_cast<float>(rank);
  unordered_sum(values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float ranks = static_cast<float>(workers * (workers - 1)) / 2;  // small integers: exact in any order
    EXPECT_EQ(values[i], static_cast<float>(workers) * static_cast<float>(i) + ranks);
  }
}

TEST(UnorderedSum, TakesNothing) { unordered_sum({}); }

}  // namespace
}  // namespace ballast
