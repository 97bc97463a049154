// Floats in fewer bits on any backend: the words that the reference writes, and what is left over.
#include <algorithm>
#include <array>
#include <cmath>

#include "tests/compute/operation_case.h"

namespace ballast {
namespace {

constexpr std::array kCodings = {Coding::kF32,  Coding::kBF16, Coding::kInt8,
                                 Coding::kInt4, Coding::kTopK, Coding::kSign};
constexpr std::array<std::int64_t, 9> kSizes = {1, 2, 31, 33, 63, 257, 1000, 8191, 8192};

class OperationsCompression : public testing::TestWithParam<Coding> {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test();
};

std::string coding_name(const testing::TestParamInfo<Coding>& info) {
  constexpr std::array kNames = {"F32", "BF16", "Int8", "Int4", "TopK", "Sign"};
  return kNames[static_cast<std::size_t>(info.param)];
}

std::int32_t kept_of(std::int64_t elements) {
  return static_cast<std::int32_t>(std::max<std::int64_t>(1, elements / 20));
}

/// Blocks of the given sizes with gaps of `gap` floats before each, their codes one behind the other.
struct Layout {
  std::vector<CodedBlock> blocks;
  std::int64_t floats = 0, words = 0;

  void add(Coding coding, std::int64_t elements, std::int64_t gap = 0) {
    const std::int64_t begin = floats + gap;
    blocks.push_back({{begin, begin + elements}, words, coding, kept_of(elements)});
    floats = begin + elements;
    words += code_words(coding, elements, kept_of(elements));
  }
};

/// A few of every size, small ones and large ones, both signs, zeros and equals.
std::vector<double> gradient(std::int64_t size, std::uint64_t key) {
  std::vector<double> values = random_values(DType::kF32, size, key, -1.0, 1.0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i % 7 == 3) values[i] *= 1000.0;
    if (i % 11 == 5) values[i] = 0.0;
    if (i % 13 == 6) values[i] = i % 2 == 0 ? 0.25 : -0.25;
  }
  return rounded(DType::kF32, values);
}

TEST_P(OperationsCompression, WritesTheWordsOfTheReference) {
  Layout layout;
  for (const std::int64_t size : kSizes) layout.add(GetParam(), size, size % 5);
  OperationCase c;
  c.demand_bits();
  const int x = c.reads("x", DType::kF32, gradient(layout.floats, 1));
  const int error = c.updates("error", DType::kF32, gradient(layout.floats, 2), {});
  const int code = c.writes("code", DType::kI32, layout.words, {});
  const int plain = c.writes("code without error", DType::kI32, layout.words, {});
  const int y = c.writes("y", DType::kF32, layout.floats, {});
  c.check(*backend, [&](Backend& on, const Arguments& t) {
    on.compress(layout.blocks, t[x], t[error], t[code]);
    on.compress(layout.blocks, t[x], {}, t[plain]);
    on.decompress(layout.blocks, t[code], t[y]);
  });
}

TEST_P(OperationsCompression, CodesOneBlockAsManyTogether) {
  Layout layout;
  for (const std::int64_t size : kSizes) layout.add(GetParam(), size);
  OperationCase c;
  c.demand_bits();
  const int x = c.reads("x", DType::kF32, gradient(layout.floats, 3));
  const int error = c.updates("error", DType::kF32, gradient(layout.floats, 4), {});
  const int code = c.writes("code", DType::kI32, layout.words, {});
  c.check(*backend, [&](Backend& on, const Arguments& t) {
    if (&on != backend.get()) return on.compress(layout.blocks, t[x], t[error], t[code]);
    for (auto block = layout.blocks.rbegin(); block != layout.blocks.rend(); ++block) {
      on.compress(std::span(&*block, 1), t[x], t[error], t[code]);
    }
  });
}

/// What compress() and decompress() make of `values`, in one block.
std::vector<float> there_and_back(Backend& backend, Coding coding, const std::vector<double>& values) {
  Layout layout;
  layout.add(coding, std::ssize(values));
  std::vector<float> host(values.begin(), values.end());
  const Buffer x(backend, layout.floats, DType::kF32), code(backend, layout.words, DType::kI32);
  backend.upload(std::as_bytes(std::span(host)), x.span());
  backend.compress(layout.blocks, x.span(), {}, code.span());
  backend.decompress(layout.blocks, code.span(), x.span());
  backend.download(x.span(), std::as_writable_bytes(std::span(host)));
  backend.synchronize();
  return host;
}

TEST_P(OperationsCompression, NeverCodesNaNAndInfinityAway) {
  for (const double strange : {kNan, kInfinity, -kInfinity}) {
    std::vector<double> values = gradient(700, 5);
    values[300] = strange;
    EXPECT_FALSE(std::isfinite(there_and_back(*backend, GetParam(), values)[300])) << strange;
    values[300] = 0.0;
    for (const float value : there_and_back(*backend, GetParam(), values)) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST_P(OperationsCompression, CodesZerosAndTheSmallestNumbers) {
  Layout layout;
  layout.add(GetParam(), 600);
  layout.add(GetParam(), 600);
  std::vector<double> values(1200, 0.0);
  for (std::size_t i = 600; i < 1200; ++i)
    values[i] = (i % 2 == 0 ? 1.0 : -1.0) * 1.4e-45 * static_cast<double>(i % 300);
  OperationCase c;
  c.demand_bits();
  const int x = c.reads("x", DType::kF32, values);
  const int error = c.updates("error", DType::kF32, std::vector<double>(1200, 0.0), {});
  const int code = c.writes("code", DType::kI32, layout.words, {});
  c.check(*backend, [&](Backend& on, const Arguments& t) { on.compress(layout.blocks, t[x], t[error], t[code]); });
}

INSTANTIATE_TEST_SUITE_P(Codings, OperationsCompression, testing::ValuesIn(kCodings), coding_name);

/// The bound of each coding, for one block of random numbers in -1..1.
struct Bound {
  Coding coding;
  double largest;        ///< error of an element
  double bits_of_float;  ///< of the code, for each float of a block of 8192
};

TEST(OperationsCompression, StaysWithinItsErrorAndItsSize) {
  const auto backend = backend_under_test();
  for (const Bound& bound : {Bound{Coding::kF32, 0.0, 32}, Bound{Coding::kBF16, 0x1p-9, 16},
                             Bound{Coding::kInt8, 0.5 / 127 * 1.001, 8.125}, Bound{Coding::kInt4, 0.5 / 7 * 1.001, 4.5},
                             Bound{Coding::kTopK, 0.96, 1.6}, Bound{Coding::kSign, 0.51, 1.01}}) {
    Layout layout;
    layout.add(bound.coding, 8192);
    EXPECT_LE(static_cast<double>(layout.words) * 32.0 / 8192.0, bound.bits_of_float);
    const std::vector<double> values = random_values(DType::kF32, 8192, 7, -1.0, 1.0);
    std::vector<float> host(values.begin(), values.end()), left(8192);
    const Buffer x(*backend, 8192, DType::kF32), error(*backend, 8192, DType::kF32),
        code(*backend, layout.words, DType::kI32);
    backend->upload(std::as_bytes(std::span(host)), x.span());
    backend->zero(error.span());
    backend->compress(layout.blocks, x.span(), error.span(), code.span());
    backend->download(error.span(), std::as_writable_bytes(std::span(left)));
    backend->synchronize();
    float largest = 0.0F;
    for (const float e : left) largest = std::max(largest, std::abs(e));
    EXPECT_LE(largest, bound.largest) << "coding " << static_cast<int>(bound.coding);
    EXPECT_EQ(largest == 0.0F, bound.coding == Coding::kF32);
  }
}

TEST(OperationsCompression, RefusesBlocksThatDoNotFit) {
  const auto backend = backend_under_test();
  const Buffer x(*backend, 100, DType::kF32), code(*backend, 100, DType::kI32);
  const auto refuses = [&](const std::vector<CodedBlock>& blocks) {
    EXPECT_THROW(backend->compress(blocks, x.span(), {}, code.span()), Error);
    EXPECT_THROW(backend->decompress(blocks, code.span(), x.span()), Error);
  };
  backend->decompress({}, code.span(), x.span());  // zeros
  refuses({{{0, 101}, 0, Coding::kF32}});
  refuses({{{0, 0}, 0, Coding::kF32}});
  refuses({{{0, 100}, 1, Coding::kF32}});
  refuses({{{0, 50}, 0, Coding::kF32}, {{49, 100}, 50, Coding::kF32}});
  refuses({{{0, 50}, 0, Coding::kF32}, {{50, 100}, 49, Coding::kF32}});
  refuses({{{0, 50}, 0, Coding::kTopK, 0}});
  refuses({{{0, 50}, 0, Coding::kTopK, 51}});
}

}  // namespace
}  // namespace ballast
