#include "compute/tensor.h"

#include <array>
#include <limits>
#include <utility>

namespace ballast {

namespace {

struct DTypeFacts {
  DType dtype;
  std::int64_t bytes;
  const char* name;
};

constexpr std::array<DTypeFacts, 4> kDTypes = {{
    {DType::kF32, 4, "f32"},
    {DType::kBF16, 2, "bf16"},
    {DType::kI32, 4, "i32"},
    {DType::kF64, 8, "f64"},
}};

const DTypeFacts& facts_of(DType dtype) {
  for (const auto& facts : kDTypes) {
    if (facts.dtype == dtype) return facts;
  }
  throw Error("unknown element type number " + std::to_string(static_cast<int>(dtype)));
}

}  // namespace

std::int64_t size_of(DType dtype) { return facts_of(dtype).bytes; }

const char* name_of(DType dtype) { return facts_of(dtype).name; }

DType dtype_named(const std::string& name) {
  for (const auto& facts : kDTypes) {
    if (name == facts.name) return facts.dtype;
  }
  throw Error("unknown element type '" + name + "': use f32, bf16, i32 or f64");
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  bool overflows = false;
  for (const std::int64_t dim : dims_) {
    if (dim < 0) throw Error("shape " + to_string() + " has a negative dimension");
    // A zero hides an overflow before it ([2^40, 2^40, 0]), so the product is checked without the zeros.
    if (dim == 0) continue;
    overflows = overflows || product > std::numeric_limits<std::int64_t>::max() / dim;
    if (!overflows) product *= dim;
  }
  if (overflows) throw Error("shape " + to_string() + " has more elements than 63 bits can count");
  for (const std::int64_t dim : dims_) {
    if (dim == 0) return 0;
  }
  return product;
}

std::string Shape::to_string() const {
  std::string text = "[";
  for (std::size_t axis = 0; axis < dims_.size(); ++axis) {
    if (axis > 0) text += ", ";
    text += std::to_string(dims_[axis]);
  }
  return text + "]";
}

}  // namespace ballast
