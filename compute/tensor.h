// Defines: DType, size_of, name_of, Shape, DeviceSpan, ConstDeviceSpan.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "compute/error.h"

namespace ballast {

/// Element types. bf16 is the upper half of an IEEE binary32, rounded to nearest even when converted down.
enum class DType : std::uint8_t { kF32, kBF16, kI32, kF64 };

[[nodiscard]] std::int64_t size_of(DType dtype);      ///< bytes of one element
[[nodiscard]] const char* name_of(DType dtype);       ///< "f32", "bf16", "i32", "f64"
[[nodiscard]] DType dtype_named(const std::string&);  ///< inverse of name_of; throws Error

/// Dimensions of a tensor, row-major, slowest first. An empty list is a scalar.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims) : dims_(dims) {}
  explicit Shape(std::vector<std::int64_t> dims) : dims_(std::move(dims)) {}

  [[nodiscard]] int rank() const { return static_cast<int>(dims_.size()); }
  [[nodiscard]] std::int64_t operator[](int axis) const { return dims_[static_cast<std::size_t>(axis)]; }
  [[nodiscard]] std::int64_t last() const { return dims_.empty() ? 1 : dims_.back(); }
  /// Product of all dimensions. Throws Error when it does not fit in 63 bits or a dimension is negative.
  [[nodiscard]] std::int64_t elements() const;
  [[nodiscard]] const std::vector<std::int64_t>& dims() const { return dims_; }
  [[nodiscard]] std::string to_string() const;  ///< "[3, 768]"
  bool operator==(const Shape&) const = default;

 private:
  std::vector<std::int64_t> dims_;
};

/// Memory of a backend that may be read: a typed run of elements. There is no operator[]: host code cannot touch it.
struct ConstDeviceSpan {
  const void* data = nullptr;
  std::int64_t size = 0;  ///< elements
  DType dtype = DType::kF32;

  [[nodiscard]] bool empty() const { return size == 0; }
  [[nodiscard]] std::int64_t bytes() const { return size * size_of(dtype); }
  [[nodiscard]] ConstDeviceSpan subspan(std::int64_t offset, std::int64_t count) const {
    return {static_cast<const std::byte*>(data) + offset * size_of(dtype), count, dtype};
  }
};

/// Memory of a backend that may be written.
struct DeviceSpan {
  void* data = nullptr;
  std::int64_t size = 0;  ///< elements
  DType dtype = DType::kF32;

  [[nodiscard]] bool empty() const { return size == 0; }
  [[nodiscard]] std::int64_t bytes() const { return size * size_of(dtype); }
  [[nodiscard]] DeviceSpan subspan(std::int64_t offset, std::int64_t count) const {
    return {static_cast<std::byte*>(data) + offset * size_of(dtype), count, dtype};
  }
  operator ConstDeviceSpan() const { return {data, size, dtype}; }  // NOLINT(google-explicit-constructor)
};

}  // namespace ballast
