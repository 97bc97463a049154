#include <optional>

#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

const std::vector<std::int64_t> kSizes = {0, 1, 5, 4095, 4096, 4097, 100003};

/// The program on one element, in f32.
float run_tree(const std::vector<float>& addends, const std::vector<int>& tree) {
  std::vector<float> stack;
  for (const int step : tree) {
    if (step >= 0) {
      stack.push_back(addends[static_cast<std::size_t>(step)]);
      continue;
    }
    const float b = stack.back();
    stack.pop_back();
    stack.back() += b;
  }
  return stack.back();
}

const std::vector<std::vector<int>> kTrees = {
    {0},
    {0, 1, -1},
    {1, 0, -1},
    {0, 1, -1, 2, -1},
    {0, 1, 2, -1, -1},
    {0, 1, -1, 2, 3, -1, -1},
    {3, 2, -1, 1, 0, -1, -1},
    {0, 1, 2, 3, -1, -1, -1},
    {0, 1, -1, 2, -1, 3, -1},
    {0, 1, -1, 2, 3, -1, -1, 4, 5, -1, 6, 7, -1, -1, -1},
};

int addends_of(const std::vector<int>& tree) { return *std::max_element(tree.begin(), tree.end()) + 1; }

/// The sum by the kernel; written over addend `over` when there is one.
Tensor sum_by_kernel(ThreadPool& pool, const std::vector<int>& tree, std::int64_t size, std::optional<int> over) {
  std::vector<Tensor> tensors;
  std::vector<ConstDeviceSpan> spans;
  for (int i = 0; i < addends_of(tree); ++i) {
    tensors.push_back(random_tensor(DType::kF32, size, static_cast<std::uint64_t>(i), -1.0, 1.0 + 1000.0 * (i % 2)));
  }
  for (Tensor& tensor : tensors) spans.push_back(tensor.span());
  Tensor result(DType::kF32, size);
  Tensor& sum = over ? tensors[static_cast<std::size_t>(*over)] : result;
  ordered_sum(pool, spans, tree, sum.span());
  return sum;
}

TEST(OrderedSum, AddsInTheShapeOfTheTree) {
  ThreadPool pool(2);
  for (const auto& tree : kTrees) {
    for (const std::int64_t size : kSizes) {
      const Tensor sum = sum_by_kernel(pool, tree, size, {});
      EXPECT_TRUE(sum.intact());
      std::vector<Tensor> tensors;
      for (int i = 0; i < addends_of(tree); ++i) {
        tensors.push_back(
            random_tensor(DType::kF32, size, static_cast<std::uint64_t>(i), -1.0, 1.0 + 1000.0 * (i % 2)));
      }
      for (std::int64_t i = 0; i < size; ++i) {
        std::vector<float> addends;
        for (const Tensor& tensor : tensors) addends.push_back(static_cast<float>(tensor.at(i)));
        ASSERT_EQ(sum.at(i), static_cast<double>(run_tree(addends, tree))) << "element " << i;
      }
    }
  }
}

TEST(OrderedSum, MayWriteOverAnyAddend) {
  ThreadPool pool(2);
  for (const auto& tree : kTrees) {
    const Tensor apart = sum_by_kernel(pool, tree, 10001, {});
    for (int over = 0; over < addends_of(tree); ++over) {
      EXPECT_EQ(sum_by_kernel(pool, tree, 10001, over).bytes(), apart.bytes()) << "over addend " << over;
    }
  }
}

TEST(OrderedSum, GivesTheSameBitsOnAnyNumberOfThreads) {
  for (const auto& tree : kTrees) {
    expect_same_bits_on_any_number_of_threads(
        [&](ThreadPool& threads) { return Outputs{sum_by_kernel(threads, tree, 100003, {}).bytes()}; });
  }
}

TEST(OrderedSumAndSquares, AreThoseOfTwoCalls) {
  const std::vector<ElementRange> parts = {{0, 8192}, {8192, 16384}, {16384, 20000}, {20008, 20009}, {20016, 50001}};
  for (const auto& tree : kTrees) {
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      std::vector<Tensor> tensors;
      std::vector<ConstDeviceSpan> spans;
      for (int i = 0; i < addends_of(tree); ++i) {
        tensors.push_back(random_tensor(DType::kF32, 50007, static_cast<std::uint64_t>(i), -1.0, 1.0));
      }
      for (Tensor& tensor : tensors) spans.push_back(tensor.span());
      Tensor apart(DType::kF32, 50007);
      ordered_sum(pool, spans, tree, apart.span());
      std::vector<double> squares(parts.size(), -1.0);
      ordered_sum_and_squares(pool, spans, tree, tensors[0].span(), parts, squares);
      EXPECT_EQ(tensors[0].bytes(), apart.bytes());
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const ConstDeviceSpan part = apart.span().subspan(parts[i].begin, parts[i].end - parts[i].begin);
        EXPECT_EQ(squares[i], sum_of_squares(pool, part)) << "part " << i;
      }
    }
  }
}

TEST(OrderedSumAndSquares, RefusesPartsOutOfOrder) {
  ThreadPool pool(1);
  Tensor x(DType::kF32, 8);
  const std::vector<ConstDeviceSpan> one = {x.span()};
  const std::vector<int> tree = {0};
  std::vector<double> squares(2);
  for (const std::vector<ElementRange>& parts :
       {std::vector<ElementRange>{{0, 4}, {3, 8}}, {{0, 4}, {4, 9}}, {{-1, 4}, {4, 8}}, {{4, 3}, {4, 8}}, {{0, 8}}}) {
    EXPECT_THROW(ordered_sum_and_squares(pool, one, tree, x.span(), parts, squares), Error);
  }
}

TEST(OrderedSum, RefusesProgramsThatAreNotOneTree) {
  ThreadPool pool(1);
  Tensor x(DType::kF32, 4);
  const std::vector<ConstDeviceSpan> two = {x.span(), x.span()};
  for (const std::vector<int>& tree : {std::vector<int>{}, {0, 1}, {0, -1}, {0, 2, -1}, {-1}, {0, 1, -1, -1}, {-2}}) {
    EXPECT_THROW(ordered_sum(pool, two, tree, x.span()), Error);
  }
  Tensor shorter(DType::kF32, 3);
  EXPECT_THROW(ordered_sum(pool, two, std::vector<int>{0, 1, -1}, shorter.span()), Error);
}

TEST(SumOfSquares, IsTheSumInDoublePrecision) {
  ThreadPool pool(2);
  for (const std::int64_t size : {0, 1, 15, 16, 17, 8191, 8192, 8193, 300007}) {
    Tensor x = random_tensor(DType::kF32, size, 1);
    double expected = 0.0;
    for (std::int64_t i = 0; i < size; ++i) expected += x.at(i) * x.at(i);
    EXPECT_NEAR(sum_of_squares(pool, x.span()), expected, 1e-12 * expected);
  }
}

TEST(SumOfSquares, HoldsNumbersWhoseSquaresAreBeyondF32) {
  ThreadPool pool(2);
  Tensor x(DType::kF32, std::vector<double>{1e30, 1e-30});
  EXPECT_NEAR(sum_of_squares(pool, x.span()), 1e60, 1e54);
}

TEST(SumOfSquares, GivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([](ThreadPool& threads) {
    Tensor x = random_tensor(DType::kF32, 300007, 2);
    const double total = sum_of_squares(threads, x.span());
    std::vector<std::byte> bytes(sizeof(double));
    std::memcpy(bytes.data(), &total, sizeof(double));
    return Outputs{bytes};
  });
}

}  // namespace
}  // namespace ballast
