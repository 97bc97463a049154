// convert, add, relu, gelu and dropout on any backend.
#include <cmath>

#include "tests/compute/operation_case.h"

namespace ballast {
namespace {

const std::vector<std::int64_t> kSizes = {0, 1, 3, 16, 17, 100, 1025, 4099};
constexpr DropoutKey kKey{.seed = 0x123456789ABCDEF0U, .step = 17, .operation = 5, .first_sample = 40, .rate = 0.3F};

BALLAST_BOTH_TYPES(OperationsConvert);
BALLAST_BOTH_TYPES(OperationsElementwise);
BALLAST_BOTH_TYPES(OperationsDropout);

/// Numbers where rounding to bf16, or a comparison, could go wrong.
std::vector<double> difficult_values() {
  return {0.0,    -0.0,         1.0,          1.00390625, 1.01171875, 1.00390637, -1.00390625, -1.01171875, 1e-40,
          -1e-40, 3.3895314e38, 3.4028235e38, kInfinity,  -kInfinity, kNan,       1e30,        -1e30,       6e-8};
}

TEST_P(OperationsConvert, RoundsToNearestEvenAndWidensExactly) {
  for (const DType to : {DType::kF32, DType::kBF16}) {
    for (const std::int64_t size : kSizes) {
      OperationCase c;
      c.demand_bits();
      const int x = c.reads("x", GetParam(), random_values(GetParam(), size, 1, -1000.0, 1000.0));
      const int y = c.writes("y", to, size, {});
      c.check(*backend, [&](Backend& on, const Arguments& t) { on.convert(t[x], t[y]); });
    }
    OperationCase c;
    c.demand_bits();
    const int x = c.reads("x", GetParam(), difficult_values());
    const int y = c.writes("y", to, std::ssize(difficult_values()), {});
    c.check(*backend, [&](Backend& on, const Arguments& t) { on.convert(t[x], t[y]); });
  }
}

TEST_P(OperationsConvert, CopiesIntegers) {
  OperationCase c;
  c.demand_bits();
  const int x = c.reads("x", DType::kI32, random_values(DType::kI32, 1001, 2, -2e9, 2e9));
  const int y = c.updates("y", DType::kI32, random_values(DType::kI32, 1001, 3, 0.0, 9.0), {});
  c.check(*backend, [&](Backend& on, const Arguments& t) { on.convert(t[x], t[y]); });
}

TEST_P(OperationsElementwise, AddsAndMayWriteOverAnAddend) {
  for (const std::int64_t size : kSizes) {
    OperationCase c;
    c.demand_bits();
    const int a = c.reads("a", GetParam(), random_values(GetParam(), size, 1));
    const int b = c.reads("b", GetParam(), random_values(GetParam(), size, 2));
    const int y = c.writes("y", GetParam(), size, {});
    const int over_first = c.updates("over a", GetParam(), random_values(GetParam(), size, 1), {});
    const int over_second = c.updates("over b", GetParam(), random_values(GetParam(), size, 2), {});
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.add(t[a], t[b], t[y]);
      on.add(t[over_first], t[b], t[over_first]);
      on.add(t[a], t[over_second], t[over_second]);
    });
  }
}

TEST_P(OperationsElementwise, ReluCutsOffNegatives) {
  for (const std::int64_t size : kSizes) {
    OperationCase c;
    c.demand_bits();
    const int x = c.reads("x", GetParam(), random_values(GetParam(), size, 3));
    const int y = c.writes("y", GetParam(), size, {});
    const int in_place = c.updates("in place", GetParam(), random_values(GetParam(), size, 3), {});
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.relu(t[x], t[y]);
      on.relu(t[in_place], t[in_place]);
    });
  }
}

TEST_P(OperationsElementwise, ReluBackwardPassesWhereTheOutputIsPositive) {
  for (const std::int64_t size : kSizes) {
    std::vector<double> outputs = random_values(GetParam(), size, 3);
    if (size > 2) outputs[2] = 0.0;
    OperationCase c;
    c.demand_bits();
    const int y = c.reads("y", GetParam(), outputs);
    const int dy = c.reads("dy", GetParam(), random_values(GetParam(), size, 4));
    const int dx = c.writes("dx", GetParam(), size, {});
    const int in_place = c.updates("in place", GetParam(), random_values(GetParam(), size, 4), {});
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.relu_backward(t[y], t[dy], t[dx]);
      on.relu_backward(t[y], t[in_place], t[in_place]);
    });
  }
}

TEST_P(OperationsElementwise, GeluIsTheTanhFormAndBackwardItsSlope) {
  const Tolerance value{.relative = 6e-6, .scale = 0.1};
  const Tolerance slope{.relative = 2e-6, .scale = 1.0};
  for (const std::int64_t size : kSizes) {
    const auto inputs = random_values(GetParam(), size, 5, -6.0, 6.0);
    const auto gradients = random_values(GetParam(), size, 6);
    OperationCase c;
    const int x = c.reads("x", GetParam(), inputs);
    const int dy = c.reads("dy", GetParam(), gradients);
    const int y = c.writes("y", GetParam(), size, value);
    const int dx = c.writes("dx", GetParam(), size, slope);
    const int y_in_place = c.updates("y in place", GetParam(), inputs, value);
    const int dx_in_place = c.updates("dx in place", GetParam(), gradients, slope);
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.gelu(t[x], t[y]);
      on.gelu_backward(t[x], t[dy], t[dx]);
      on.gelu(t[y_in_place], t[y_in_place]);
      on.gelu_backward(t[x], t[dx_in_place], t[dx_in_place]);
    });
  }
}

TEST_P(OperationsElementwise, GeluStaysFiniteForHugeInputs) {
  const std::vector<double> huge = {1e30, -1e30, 300.0, -300.0, 0.0};
  OperationCase c;
  const int x = c.reads("x", GetParam(), huge);
  const int one = c.reads("one", GetParam(), {1.0, 1.0, 1.0, 1.0, 1.0});
  const int y = c.writes("y", GetParam(), 5, {.relative = 1e-7, .scale = 1e-21});
  const int dx = c.writes("dx", GetParam(), 5, {.relative = 1e-7, .scale = 1e-21});
  c.check(*backend, [&](Backend& on, const Arguments& t) {
    on.gelu(t[x], t[y]);
    on.gelu_backward(t[x], t[one], t[dx]);
  });
}

TEST_P(OperationsElementwise, NanShowsInEveryResult) {
  for (const std::size_t at : {0U, 18U}) {
    std::vector<double> values = random_values(GetParam(), 20, 8);
    values[at] = kNan;
    OperationCase c;
    const int x = c.reads("x", GetParam(), values);
    const int one = c.reads("one", GetParam(), std::vector<double>(20, 1.0));
    std::vector<int> y;
    for (const char* name : {"relu", "gelu", "gelu_backward", "add", "relu_backward"})
      y.push_back(c.writes(name, GetParam(), 20, {.relative = 6e-6, .scale = 1.0}));
    c.check(*backend, [&](Backend& on, const Arguments& t) {
      on.relu(t[x], t[y[0]]);
      on.gelu(t[x], t[y[1]]);
      on.gelu_backward(t[x], t[one], t[y[2]]);
      on.add(t[x], t[one], t[y[3]]);
      on.relu_backward(t[one], t[x], t[y[4]]);
    });
  }
}

TEST_P(OperationsDropout, KeepsExactlyWhatTheKeySays) {
  for (const std::int64_t samples : {0, 1, 3}) {
    for (const std::int64_t elements : {0, 1, 4, 5, 31, 257, 1030}) {
      // No element is zero, so a kept one cannot pass for a dropped one.
      const auto values = random_values(GetParam(), samples * elements, 1, 1.0, 2.0);
      OperationCase c;
      const int x = c.reads("x", GetParam(), values);
      const int y = c.writes("y", GetParam(), samples * elements, {.relative = 2e-7});
      const int in_place = c.updates("in place", GetParam(), values, {.relative = 2e-7});
      c.check(*backend, [&](Backend& on, const Arguments& t) {
        on.dropout(kKey, samples, t[x], t[y]);
        on.dropout(kKey, samples, t[in_place], t[in_place]);
      });
    }
  }
}

TEST_P(OperationsDropout, FollowsEveryPartOfTheKey) {
  std::vector<DropoutKey> keys(6, kKey);
  keys[0].seed += 1ULL << 32;
  keys[1].step += 1;
  keys[2].operation += 1;
  keys[3].first_sample = 0xFFFFFFFFU;  // the second sample wraps round
  keys[4].rate = 0.75F;
  keys[5].rate = 0.0F;
  for (const DropoutKey& key : keys) {
    OperationCase c;
    const int x = c.reads("x", GetParam(), random_values(GetParam(), 2 * 129, 2, 1.0, 2.0));
    const int y = c.writes("y", GetParam(), 2 * 129, {.relative = 2e-7});
    c.check(*backend, [&](Backend& on, const Arguments& t) { on.dropout(key, 2, t[x], t[y]); });
  }
}

TEST_P(OperationsDropout, DropsInfinityToZero) {
  OperationCase c;
  const int x = c.updates("x", GetParam(), std::vector<double>(50, kInfinity), {});
  c.check(*backend, [&](Backend& on, const Arguments& t) { on.dropout(kKey, 2, t[x], t[x]); });
}

}  // namespace
}  // namespace ballast
