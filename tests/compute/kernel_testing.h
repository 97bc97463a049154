// Defines: Tensor, random_values, rounded, expect_close, expect_same_bits_on_any_number_of_threads: what the tests of
// kernels share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "compute/cpu/bf16.h"
#include "compute/cpu/kernels.h"
#include "compute/philox.h"

namespace ballast {

/// Host memory with an element type. Reads and writes as double, rounding once. Holds one element more than asked for,
/// so that every size has an address, and guards it: a kernel that writes past the end is caught by intact().
class Tensor {
 public:
  Tensor(DType dtype, std::int64_t size) : dtype_(dtype), size_(size), bytes_((size + 1) * size_of(dtype)) {
    std::memset(bytes_.data() + size * size_of(dtype), 0x5A, size_of(dtype));
  }
  Tensor(DType dtype, const std::vector<double>& values) : Tensor(dtype, std::ssize(values)) {
    for (std::int64_t i = 0; i < size_; ++i) set(i, values[i]);
  }

  [[nodiscard]] double at(std::int64_t i) const {
    if (dtype_ == DType::kBF16) return static_cast<double>(widen(read<Bf16>(i)));
    if (dtype_ == DType::kI32) return static_cast<double>(read<std::int32_t>(i));
    return static_cast<double>(read<float>(i));
  }
  void set(std::int64_t i, double value) {
    if (dtype_ == DType::kBF16) return write(i, narrow(static_cast<float>(value)));
    if (dtype_ == DType::kI32) return write(i, static_cast<std::int32_t>(value));
    write(i, static_cast<float>(value));
  }
  [[nodiscard]] std::int64_t size() const { return size_; }
  [[nodiscard]] DeviceSpan span() { return {bytes_.data(), size_, dtype_}; }
  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
  [[nodiscard]] bool intact() const {
    for (std::int64_t i = size_ * size_of(dtype_); i < std::ssize(bytes_); ++i) {
      if (bytes_[i] != std::byte{0x5A}) return false;
    }
    return true;
  }

 private:
  template <class T>
  [[nodiscard]] T read(std::int64_t i) const {
    T value;
    std::memcpy(&value, bytes_.data() + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
    return value;
  }
  template <class T>
  void write(std::int64_t i, T value) {
    std::memcpy(bytes_.data() + i * static_cast<std::int64_t>(sizeof(T)), &value, sizeof(T));
  }

  DType dtype_;
  std::int64_t size_;
  std::vector<std::byte> bytes_;
};

inline std::vector<double> random_values(std::int64_t size, std::uint64_t key, double low = -2.0, double high = 2.0) {
  std::vector<double> values(static_cast<std::size_t>(size));
  for (std::int64_t i = 0; i < size; ++i) {
    const auto word = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, key)[0];
    values[i] = low + (high - low) * static_cast<double>(uniform(word));
  }
  return values;
}

inline Tensor random_tensor(DType dtype, std::int64_t size, std::uint64_t key, double low = -2.0, double high = 2.0) {
  return {dtype, random_values(size, key, low, high)};
}

/// Half a unit in the last place of a number near 1, twice over: what one rounding on the way out may cost.
inline double rounding(DType dtype) { return dtype == DType::kBF16 ? 0x1p-8 : 0x1p-23; }

/// |actual - expected| <= rounding of the type + `relative` * (|expected| + `scale`).
inline void expect_close(const Tensor& actual, const std::vector<double>& expected, DType dtype, double relative,
                         double scale = 0.0) {
  ASSERT_EQ(actual.size(), std::ssize(expected));
  EXPECT_TRUE(actual.intact()) << "wrote past the end";
  for (std::int64_t i = 0; i < actual.size(); ++i) {
    const double size = std::abs(expected[i]);
    const double allowed = rounding(dtype) * size + relative * (size + scale) + 1e-37;
    ASSERT_NEAR(actual.at(i), expected[i], allowed) << "element " << i << " of " << actual.size();
  }
}

/// The bytes of everything that a kernel wrote.
using Outputs = std::vector<std::vector<std::byte>>;

inline void expect_same_bits_on_any_number_of_threads(const std::function<Outputs(ThreadPool&)>& compute) {
  ThreadPool alone(1);
  const auto expected = compute(alone);
  for (const int threads : {2, 3, 5}) {
    ThreadPool pool(threads);
    EXPECT_TRUE(compute(pool) == expected) << threads << " threads give other bits than one";
  }
}

inline std::string type_name(const testing::TestParamInfo<DType>& info) { return name_of(info.param); }

/// A test for both compute types.
class KernelTest : public testing::TestWithParam<DType> {
 protected:
  ThreadPool pool{2};
};

}  // namespace ballast
