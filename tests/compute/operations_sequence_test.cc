// Embedding and attention on any backend.
#include "tests/compute/operation_case.h"
#include "tests/support/reference_backend.h"

namespace ballast {
namespace {

BALLAST_BOTH_TYPES(OperationsEmbedding);
BALLAST_BOTH_TYPES(OperationsAttention);

struct Text {
  std::int64_t samples, positions, width, vocabulary;
};

// Many tokens of a small vocabulary: gradients of one token come from many places.
const std::vector<Text> kTexts = {{0, 4, 3, 5},     {1, 1, 1, 1},   {2, 3, 5, 7},      {3, 17, 64, 11},
                                  {4, 33, 65, 100}, {2, 100, 8, 3}, {2, 40, 264, 1100}};

TEST_P(OperationsEmbedding, AddsTheRowsOfTokenAndPosition) {
  for (const Text& s : kTexts) {
    OperationCase c;
    c.demand_bits();
    const int tokens = c.reads("tokens", DType::kI32,
                               random_values(DType::kI32, s.samples * s.positions, 1, 0.0, double(s.vocabulary)));
    const int token_table = c.reads("token table", GetParam(), random_values(GetParam(), s.vocabulary * s.width, 2));
    const int position_table =
        c.reads("position table", GetParam(), random_values(GetParam(), s.positions * s.width, 3));
    const int x = c.writes("x", GetParam(), s.samples * s.positions * s.width, {});
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.embedding(s.samples, s.positions, t[tokens], t[token_table], t[position_table], t[x]);
    });
  }
}

TEST_P(OperationsEmbedding, BackwardAddsUpTheRowsOfEveryTokenAndPosition) {
  for (const Text& s : kTexts) {
    const std::int64_t rows = s.samples * s.positions;
    OperationCase c;
    const int tokens = c.reads("tokens", DType::kI32, random_values(DType::kI32, rows, 1, 0.0, double(s.vocabulary)));
    const int dx = c.reads("dx", GetParam(), random_values(GetParam(), rows * s.width, 4));
    const int dtoken = c.updates("dtoken", DType::kF32, random_values(DType::kF32, s.vocabulary * s.width, 5),
                                 tolerance_of_sum(rows / s.vocabulary + 2, 1.0));
    const int dposition = c.updates("dposition", DType::kF32, random_values(DType::kF32, s.positions * s.width, 6),
                                    tolerance_of_sum(s.samples + 1, 1.0));
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.embedding_backward(s.samples, s.positions, t[tokens], t[dx], t[dtoken], t[dposition]);
    });
  }
}

const std::vector<AttentionShape> kShapes = {
    {.samples = 0, .positions = 4, .heads = 2, .head_width = 4},
    {.samples = 1, .positions = 1, .heads = 1, .head_width = 1},
    {.samples = 2, .positions = 5, .heads = 3, .head_width = 7},
    {.samples = 1, .positions = 16, .heads = 2, .head_width = 16},
    {.samples = 1, .positions = 65, .heads = 2, .head_width = 64},
    {.samples = 1, .positions = 100, .heads = 1, .head_width = 33},
    {.samples = 1, .positions = 40, .heads = 1, .head_width = 128},
    {.samples = 1, .positions = 150, .heads = 1, .head_width = 8},  // several blocks of keys, an odd last one
    {.samples = 1, .positions = 130, .heads = 2, .head_width = 24},
    {.samples = 1, .positions = 70, .heads = 1, .head_width = 72},
    {.samples = 1, .positions = 34, .heads = 1, .head_width = 131},  // wider than tensor cores take on cuda, odd
};

std::int64_t size_of_y(const AttentionShape& s) { return s.samples * s.positions * s.heads * s.head_width; }
std::int64_t rows_of(const AttentionShape& s) { return s.samples * s.heads * s.positions; }

std::string describe(const AttentionShape& s) {
  return std::to_string(s.samples) + " samples, " + std::to_string(s.positions) + " positions, " +
         std::to_string(s.heads) + " heads of " + std::to_string(s.head_width);
}

TEST_P(OperationsAttention, MatchesTheWholeMatrix) {
  for (const AttentionShape& s : kShapes) {
    SCOPED_TRACE(describe(s));
    OperationCase c;
    // With bf16, probabilities are rounded before they are multiplied: 2^-9 of each, in random directions.
    const double relative = GetParam() == DType::kBF16 ? 1e-3 : 2e-6;
    const int qkv = c.reads("qkv", GetParam(), random_values(GetParam(), 3 * size_of_y(s), 1));
    const int y = c.writes("y", GetParam(), size_of_y(s), {.relative = relative, .scale = 2.0});
    const int log_sum_exp = c.writes("log_sum_exp", DType::kF32, rows_of(s), {.relative = 1e-6, .scale = 5.0});
    c.check(*backend, [&](Backend& on, const Arguments& t) { on.attention(s, t[qkv], t[y], t[log_sum_exp]); });
  }
}

TEST_P(OperationsAttention, BackwardMatchesTheWholeMatrix) {
  for (const AttentionShape& s : kShapes) {
    SCOPED_TRACE(describe(s));
    std::vector<double> qkv_values = random_values(GetParam(), 3 * size_of_y(s), 1);
    std::vector<double> y_values(static_cast<std::size_t>(size_of_y(s)));
    std::vector<double> sums(static_cast<std::size_t>(rows_of(s)));
    ReferenceBackend().attention(s, {qkv_values.data(), std::ssize(qkv_values), DType::kF64},
                                 {y_values.data(), std::ssize(y_values), DType::kF64},
                                 {sums.data(), std::ssize(sums), DType::kF64});
    OperationCase c;
    const double relative = GetParam() == DType::kBF16 ? 4e-3 : 5e-6;
    const int qkv = c.reads("qkv", GetParam(), qkv_values);
    const int y = c.reads("y", GetParam(), y_values);
    const int dy = c.reads("dy", GetParam(), random_values(GetParam(), size_of_y(s), 2));
    const int log_sum_exp = c.reads("log_sum_exp", DType::kF32, sums);
    const int dqkv = c.writes("dqkv", GetParam(), 3 * size_of_y(s), {.relative = relative, .scale = 4.0});
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.attention_backward(s, t[qkv], t[y], t[dy], t[log_sum_exp], t[dqkv]);
    });
  }
}

TEST_P(OperationsAttention, SurvivesLargeScores) {
  const AttentionShape shape{.samples = 1, .positions = 3, .heads = 1, .head_width = 1};
  OperationCase c;
  const int qkv = c.reads("qkv", GetParam(), {100, 100, 1, 100, 50, 2, 100, 100, 4});
  const int y = c.writes("y", GetParam(), 3, {.relative = 1e-6});
  const int log_sum_exp = c.writes("log_sum_exp", DType::kF32, 3, {.relative = 1e-6});
  c.check(*backend, [&](Backend& on, const Arguments& t) { on.attention(shape, t[qkv], t[y], t[log_sum_exp]); });
}

}  // namespace
}  // namespace ballast
