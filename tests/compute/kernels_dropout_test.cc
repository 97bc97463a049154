#include "tests/compute/kernel_testing.h"

namespace ballast {
namespace {

using Dropout = KernelTest;
INSTANTIATE_TEST_SUITE_P(Types, Dropout, testing::Values(DType::kF32, DType::kBF16), type_name);

constexpr DropoutKey kKey{.seed = 0x123456789ABCDEF0U, .step = 17, .operation = 5, .first_sample = 40, .rate = 0.3F};

/// The comment of DropoutKey, element by element.
bool is_kept(const DropoutKey& key, std::int64_t sample, std::int64_t element) {
  const PhiloxBlock counter = {static_cast<std::uint32_t>(element / 4), key.operation, key.step,
                               key.first_sample + static_cast<std::uint32_t>(sample)};
  return uniform(philox(counter, key.seed)[static_cast<std::size_t>(element % 4)]) >= key.rate;
}

TEST_P(Dropout, KeepsExactlyWhatTheKeySays) {
  for (const std::int64_t elements : {1, 2, 3, 4, 5, 31, 64, 65, 257, 8192, 8193, 20001}) {
    for (const std::int64_t samples : {1, 3}) {
      Tensor x = random_tensor(GetParam(), samples * elements, 1, 1.0, 2.0);
      Tensor y(GetParam(), samples * elements);
      dropout(pool, kKey, samples, x.span(), y.span());
      EXPECT_TRUE(y.intact());
      for (std::int64_t i = 0; i < x.size(); ++i) {
        const bool kept = is_kept(kKey, i / elements, i % elements);
        const float scaled = static_cast<float>(x.at(i)) * (1.0F / (1.0F - kKey.rate));
        const float expected = GetParam() == DType::kBF16 ? widen(narrow(scaled)) : scaled;
        ASSERT_EQ(y.at(i), kept ? static_cast<double>(expected) : 0.0) << elements << " elements, element " << i;
      }
    }
  }
}

TEST_P(Dropout, GivesASampleTheSameMaskInAnyBatch) {
  constexpr std::int64_t kElements = 37;
  Tensor x = random_tensor(GetParam(), 4 * kElements, 2, 1.0, 2.0);
  Tensor together(GetParam(), 4 * kElements);
  dropout(pool, kKey, 4, x.span(), together.span());
  Tensor alone(GetParam(), kElements);
  DropoutKey third = kKey;
  third.first_sample += 2;
  dropout(pool, third, 1, x.span().subspan(2 * kElements, kElements), alone.span());
  for (std::int64_t i = 0; i < kElements; ++i) EXPECT_EQ(alone.at(i), together.at(2 * kElements + i));
}

TEST_P(Dropout, ChangesWithSeedStepOperationAndSample) {
  Tensor x(GetParam(), std::vector<double>(256, 1.0));
  const auto masked = [&](const DropoutKey& key) {
    Tensor y(GetParam(), 256);
    dropout(pool, key, 1, x.span(), y.span());
    return y.bytes();
  };
  std::vector<DropoutKey> keys(5, kKey);
  keys[1].seed += 1ULL << 32;
  keys[2].step += 1;
  keys[3].operation += 1;
  keys[4].first_sample += 1;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(masked(keys[i]), masked(keys[j])) << i << " and " << j;
  }
}

TEST_P(Dropout, DropsAboutTheRateAndNothingAtRateZero) {
  constexpr std::int64_t kSize = 100000;
  Tensor x(GetParam(), std::vector<double>(kSize, 1.0));
  Tensor y(GetParam(), kSize);
  dropout(pool, kKey, 1, x.span(), y.span());
  std::int64_t dropped = 0;
  for (std::int64_t i = 0; i < kSize; ++i) dropped += y.at(i) == 0.0 ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(dropped) / kSize, 0.3, 0.01);
  DropoutKey none = kKey;
  none.rate = 0.0F;
  dropout(pool, none, 1, x.span(), y.span());
  EXPECT_EQ(x.bytes(), y.bytes());
}

TEST_P(Dropout, GivesTheSameBitsOnAnyNumberOfThreads) {
  expect_same_bits_on_any_number_of_threads([](ThreadPool& threads) {
    Tensor x = random_tensor(GetParam(), 3 * 20001, 3);
    dropout(threads, kKey, 3, x.span(), x.span());
    return Outputs{x.bytes()};
  });
}

TEST_P(Dropout, TakesNoSamplesAndRefusesWrongRates) {
  Tensor empty(GetParam(), 0);
  dropout(pool, kKey, 0, empty.span(), empty.span());
  Tensor x(GetParam(), 4);
  DropoutKey all = kKey;
  all.rate = 1.0F;
  EXPECT_THROW(dropout(pool, all, 1, x.span(), x.span()), Error);
  EXPECT_THROW(dropout(pool, kKey, 3, x.span(), x.span()), Error);
}

}  // namespace
}  // namespace ballast
