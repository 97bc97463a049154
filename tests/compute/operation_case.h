// Defines: Tolerance, OperationCase, OperationTest, random_values: one operation of the backend under test against
// ReferenceBackend.
//
// A case holds the tensors of one call. check() runs the call on the reference, where every float is a double, and
// three times on the backend under test: twice from the same memory layout, whose bits must agree, and once from spans
// that begin one element later, as slices of larger tensors do. Around every tensor lie guards that must keep their
// bytes, and so must every tensor that the operation only reads.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "tests/support/tested_backend.h"

namespace ballast {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// |got - want| <= one rounding to the type of the tensor + relative * (|want| + scale).
struct Tolerance {
  double relative = 0.0, scale = 0.0;
};

/// For a sum of `terms` products of mean size `size`: its rounding errors wander like a random walk of steps of 2^-24.
[[nodiscard]] Tolerance tolerance_of_sum(std::int64_t terms, double size);

/// Numbers that `dtype` can hold, uniform in [low, high) before they are rounded to it; whole numbers for i32.
[[nodiscard]] std::vector<double> random_values(DType dtype, std::int64_t size, std::uint64_t key, double low = -2.0,
                                                double high = 2.0);
/// Every value rounded to `dtype`.
[[nodiscard]] std::vector<double> rounded(DType dtype, std::vector<double> values);

/// What an operation gets: its tensors by the number that reads(), writes() or updates() gave, and a place for what it
/// returns on the host.
struct Arguments {
  std::vector<DeviceSpan> spans;
  std::vector<double> results;
  DeviceSpan operator[](int tensor) const { return spans[static_cast<std::size_t>(tensor)]; }
};

class OperationCase {
 public:
  using Operation = std::function<void(Backend&, Arguments&)>;

  int reads(std::string name, DType dtype, const std::vector<double>& values);
  /// Starts as NaN, so that an element that was not written, or was read, shows.
  int writes(std::string name, DType dtype, std::int64_t size, Tolerance tolerance);
  int updates(std::string name, DType dtype, const std::vector<double>& values, Tolerance tolerance);
  /// What the operation leaves in Arguments::results, each with its own tolerance (as of f64).
  void returns(std::vector<Tolerance> tolerances) { returned_ = std::move(tolerances); }
  /// Lets the reference keep its tensors in the types of the case and asks for its very bits.
  void demand_bits() { exact_ = true; }

  void check(Backend& tested, const Operation& operation) const;

 private:
  struct Tensor {
    std::string name;
    DType dtype;
    std::vector<double> values;
    Tolerance tolerance;
    bool written;
  };
  /// Everything one run left behind.
  struct Outcome {
    std::vector<std::vector<double>> tensors;
    std::vector<double> results;
    bool operator==(const Outcome& other) const;
  };

  [[nodiscard]] Outcome run(Backend& backend, const Operation& operation, bool wide, std::int64_t shift) const;
  void compare(const Outcome& got, const Outcome& want) const;

  std::vector<Tensor> tensors_;
  std::vector<Tolerance> returned_;
  bool exact_ = false;
};

/// A test for both compute types.
class OperationTest : public testing::TestWithParam<DType> {
 protected:
  std::unique_ptr<Backend> backend = backend_under_test();
};

inline std::string type_name(const testing::TestParamInfo<DType>& info) { return name_of(info.param); }

}  // namespace ballast

#define BALLAST_BOTH_TYPES(Suite) \
  using Suite = OperationTest;    \
  INSTANTIATE_TEST_SUITE_P(Types, Suite, testing::Values(DType::kF32, DType::kBF16), type_name)
