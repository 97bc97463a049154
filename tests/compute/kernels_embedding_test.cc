#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

using Embedding = KernelTest;
INSTANTIATE_TEST_SUITE_P(Types, Embedding, testing::Values(DType::kF32, DType::kBF16), type_name);

struct Size {
  std::int64_t samples, positions, width, vocabulary;
};
const std::vector<Size> kSizes = {{0, 4, 3, 5},    {1, 1, 1, 1},      {2, 3, 5, 7},
                                  {3, 17, 64, 11}, {4, 33, 129, 100}, {2, 100, 768, 300}};

Tensor random_tokens(const Size& s) {
  return random_tensor(DType::kI32, s.samples * s.positions, 1, 0.0, static_cast<double>(s.vocabulary));
}

TEST_P(Embedding, AddsTheRowsOfTokenAndPosition) {
  for (const Size& s : kSizes) {
    Tensor tokens = random_tokens(s);
    Tensor token_table = random_tensor(GetParam(), s.vocabulary * s.width, 2);
    Tensor position_table = random_tensor(GetParam(), s.positions * s.width, 3);
    Tensor x(GetParam(), s.samples * s.positions * s.width);
    embedding(pool, s.samples, s.positions, tokens.span(), token_table.span(), position_table.span(), x.span());
    std::vector<double> expected;
    for (std::int64_t i = 0; i < x.size(); ++i) {
      const std::int64_t row = i / s.width;
      const auto token = static_cast<std::int64_t>(tokens.at(row));
      expected.push_back(token_table.at(token * s.width + i % s.width) +
                         position_table.at(row % s.positions * s.width + i % s.width));
    }
    expect_close(x, expected, GetParam(), 0.0);
  }
}

TEST_P(Embedding, BackwardAddsUpTheRowsOfEveryTokenAndPosition) {
  for (const Size& s : kSizes) {
    Tensor tokens = random_tokens(s);
    Tensor dx = random_tensor(GetParam(), s.samples * s.positions * s.width, 4);
    Tensor dtoken = random_tensor(DType::kF32, s.vocabulary * s.width, 5);
    Tensor dposition = random_tensor(DType::kF32, s.positions * s.width, 6);
    std::vector<double> expected_token;
    std::vector<double> expected_position;
    for (std::int64_t i = 0; i < dtoken.size(); ++i) expected_token.push_back(dtoken.at(i));
    for (std::int64_t i = 0; i < dposition.size(); ++i) expected_position.push_back(dposition.at(i));
    for (std::int64_t i = 0; i < dx.size(); ++i) {
      const std::int64_t row = i / s.width;
      expected_token[static_cast<std::int64_t>(tokens.at(row)) * s.width + i % s.width] += dx.at(i);
      expected_position[row % s.positions * s.width + i % s.width] += dx.at(i);
    }
    embedding_backward(pool, s.samples, s.positions, tokens.span(), dx.span(), dtoken.span(), dposition.span());
    expect_close(dtoken, expected_token, DType::kF32, 2e-6, 5.0);
    expect_close(dposition, expected_position, DType::kF32, 1e-6, 5.0);
  }
}

TEST_P(Embedding, BackwardGivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([](ThreadPool& threads) {
    const Size s = {4, 200, 129, 13};
    Tensor tokens = random_tokens(s);
    Tensor dx = random_tensor(GetParam(), s.samples * s.positions * s.width, 7);
    Tensor dtoken = random_tensor(DType::kF32, s.vocabulary * s.width, 8);
    Tensor dposition = random_tensor(DType::kF32, s.positions * s.width, 9);
    embedding_backward(threads, s.samples, s.positions, tokens.span(), dx.span(), dtoken.span(), dposition.span());
    return Outputs{dtoken.bytes(), dposition.bytes()};
  });
}

TEST_P(Embedding, NamesATokenOutsideTheVocabulary) {
  Tensor tokens(DType::kI32, std::vector<double>{0, 7});
  Tensor token_table(GetParam(), 7 * 2);
  Tensor position_table(GetParam(), 2 * 2);
  Tensor x(GetParam(), 2 * 2);
  try {
    embedding(pool, 1, 2, tokens.span(), token_table.span(), position_table.span(), x.span());
    FAIL() << "took token 7 of 7";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("token 7"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace ballast
