// Ordered sums and sums of squares on any backend.
#include <algorithm>

#include "tests/compute/operation_case.h"

namespace ballast {
namespace {

class OperationsReduction : public testing::Test {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test();
};

const std::vector<std::vector<int>> kTrees = {
    {0},
    {0, 1, -1},
    {1, 0, -1},
    {0, 1, -1, 2, -1},
    {0, 1, 2, -1, -1},
    {3, 2, -1, 1, 0, -1, -1},
    {0, 1, 2, 3, -1, -1, -1},
    {0, 1, -1, 2, 3, -1, -1, 4, 5, -1, 6, 7, -1, -1, -1},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1},  // as deep as devices can add
};

int addends_of(const std::vector<int>& tree) { return *std::max_element(tree.begin(), tree.end()) + 1; }

/// Addends of sizes so different that another order of addition gives other bits.
std::vector<double> addend(std::int64_t size, int number) {
  return random_values(DType::kF32, size, static_cast<std::uint64_t>(number), -1.0, 1.0 + 1000.0 * (number % 2));
}

TEST_F(OperationsReduction, OrderedSumAddsInTheShapeOfTheTree) {
  for (const auto& tree : kTrees) {
    for (const std::int64_t size : {0, 1, 5, 1023, 4100}) {
      OperationCase c;
      c.demand_bits();
      std::vector<int> addends;
      for (int i = 0; i < addends_of(tree); ++i)
        addends.push_back(c.reads("addend " + std::to_string(i), DType::kF32, addend(size, i)));
      const int sum = c.writes("sum", DType::kF32, size, {});
      c.check(*backend, [&](Backend& on, const Arguments& t) {
        std::vector<ConstDeviceSpan> spans;
        for (const int i : addends) spans.emplace_back(t[i]);
        on.ordered_sum(spans, tree, t[sum]);
      });
    }
  }
}

TEST_F(OperationsReduction, OrderedSumMayWriteOverAnyAddend) {
  for (const auto& tree : kTrees) {
    for (int over = 0; over < addends_of(tree); ++over) {
      OperationCase c;
      c.demand_bits();
      for (int i = 0; i < addends_of(tree); ++i) {
        const std::string name = "addend " + std::to_string(i);
        i == over ? c.updates(name, DType::kF32, addend(1001, i), {}) : c.reads(name, DType::kF32, addend(1001, i));
      }
      c.check(*backend, [&](Backend& on, const Arguments& t) {
        const std::vector<ConstDeviceSpan> addends(t.spans.begin(), t.spans.end());
        on.ordered_sum(addends, tree, t[over]);
      });
    }
  }
}

TEST_F(OperationsReduction, SumOfSquaresIsTheSumInDoublePrecision) {
  for (const std::int64_t size : {0, 1, 15, 17, 1000, 8191, 8192, 8193, 20011}) {
    OperationCase c;
    const int x = c.reads("x", DType::kF32, random_values(DType::kF32, size, 1));
    c.returns({{.relative = 1e-12}});
    c.check(*backend, [&](Backend& on, Arguments& t) { t.results = {on.sum_of_squares(t[x])}; });
  }
  OperationCase c;
  const int x = c.reads("squares beyond f32", DType::kF32, {1e30, 1e-30});
  c.returns({{.relative = 1e-12}});
  c.check(*backend, [&](Backend& on, Arguments& t) { t.results = {on.sum_of_squares(t[x])}; });
}

TEST_F(OperationsReduction, OrderedSumAndSquaresAreThoseOfTwoCalls) {
  const std::vector<ElementRange> parts = {{0, 8192}, {8192, 8193}, {8200, 8200}, {8209, 9000}, {9000, 20003}};
  for (const auto& tree : {kTrees[0], kTrees[1], kTrees[4]}) {
    OperationCase c;
    c.demand_bits();
    std::vector<int> addends;
    for (int i = 0; i < addends_of(tree); ++i)
      addends.push_back(c.reads("addend " + std::to_string(i), DType::kF32, addend(20007, i)));
    const int apart = c.writes("apart", DType::kF32, 20007, {});
    const int together = c.writes("together", DType::kF32, 20007, {});
    c.returns(std::vector<Tolerance>(parts.size(), {.relative = 1e-12}));
    c.check(*backend, [&](Backend& on, Arguments& t) {
      std::vector<ConstDeviceSpan> spans;
      for (const int i : addends) spans.emplace_back(t[i]);
      on.ordered_sum(spans, tree, t[apart]);
      t.results.assign(parts.size(), -1.0);
      on.ordered_sum_and_squares(spans, tree, t[together], parts, t.results);
      on.synchronize();
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto [begin, end] = parts[i];
        EXPECT_EQ(t.results[i], on.sum_of_squares(t[apart].subspan(begin, end - begin))) << "part " << i;
      }
    });
  }
}

}  // namespace
}  // namespace ballast
