#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

using Columns = KernelTest;
INSTANTIATE_TEST_SUITE_P(Types, Columns, testing::Values(DType::kF32, DType::kBF16), type_name);

struct Size {
  std::int64_t rows, columns;
};
const std::vector<Size> kSizes = {{0, 5},   {1, 1},     {1, 17},    {3, 1},     {7, 3},    {31, 16},
                                  {65, 33}, {1000, 10}, {600, 129}, {5000, 64}, {40, 3001}};

TEST_P(Columns, BiasBackwardAddsTheSumOverRows) {
  for (const auto [rows, columns] : kSizes) {
    Tensor dy = random_tensor(GetParam(), rows * columns, 1);
    Tensor dbias = random_tensor(DType::kF32, columns, 2);
    std::vector<double> expected;
    for (std::int64_t c = 0; c < columns; ++c) {
      double total = dbias.at(c);
      for (std::int64_t r = 0; r < rows; ++r) total += dy.at(r * columns + c);
      expected.push_back(total);
    }
    bias_backward(pool, rows, dy.span(), dbias.span());
    expect_close(dbias, expected, DType::kF32, 1e-6, std::sqrt(static_cast<double>(rows)));
  }
}

TEST_P(Columns, BiasBackwardGivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([](ThreadPool& threads) {
    Tensor dy = random_tensor(GetParam(), 7001 * 33, 3);
    Tensor dbias = random_tensor(DType::kF32, 33, 4);
    bias_backward(threads, 7001, dy.span(), dbias.span());
    return Outputs{dbias.bytes()};
  });
}

struct Image {
  std::int64_t samples, pixels, channels;
};
const std::vector<Image> kImages = {{0, 4, 3}, {1, 1, 1}, {2, 64, 5}, {3, 49, 64}, {200, 16, 33}, {2, 1024, 130}};

TEST_P(Columns, AveragePoolIsTheMeanOverPixels) {
  for (const auto [samples, pixels, channels] : kImages) {
    Tensor x = random_tensor(GetParam(), samples * pixels * channels, 5);
    Tensor y(GetParam(), samples * channels);
    average_pool(pool, samples, pixels, x.span(), y.span());
    std::vector<double> expected;
    for (std::int64_t i = 0; i < samples * channels; ++i) {
      double total = 0.0;
      for (std::int64_t p = 0; p < pixels; ++p) total += x.at((i / channels * pixels + p) * channels + i % channels);
      expected.push_back(total / static_cast<double>(pixels));
    }
    expect_close(y, expected, GetParam(), 1e-6, 1.0);
  }
}

TEST_P(Columns, AveragePoolBackwardSpreadsEvenly) {
  for (const auto [samples, pixels, channels] : kImages) {
    Tensor dy = random_tensor(GetParam(), samples * channels, 6);
    Tensor dx(GetParam(), samples * pixels * channels);
    average_pool_backward(pool, samples, pixels, dy.span(), dx.span());
    std::vector<double> expected;
    for (std::int64_t i = 0; i < dx.size(); ++i) {
      expected.push_back(dy.at(i / (pixels * channels) * channels + i % channels) / static_cast<double>(pixels));
    }
    expect_close(dx, expected, GetParam(), 2e-7);
  }
}

TEST_P(Columns, AveragePoolGivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([](ThreadPool& threads) {
    Tensor x = random_tensor(GetParam(), 50 * 49 * 65, 7);
    Tensor y(GetParam(), 50 * 65);
    average_pool(threads, 50, 49, x.span(), y.span());
    return Outputs{y.bytes()};
  });
}

}  // namespace
}  // namespace ballast
