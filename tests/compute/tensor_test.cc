#include "compute/tensor.h"

#include <gtest/gtest.h>

#include <array>

namespace ballast {
namespace {

TEST(DType, HasASizeAndAName) {
  EXPECT_EQ(size_of(DType::kF32), 4);
  EXPECT_EQ(size_of(DType::kBF16), 2);
  EXPECT_EQ(size_of(DType::kI32), 4);
  EXPECT_EQ(size_of(DType::kF64), 8);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI32, DType::kF64}) {
    EXPECT_EQ(dtype_named(name_of(dtype)), dtype);
  }
}

TEST(DType, RefusesAnUnknownName) { EXPECT_THROW(static_cast<void>(dtype_named("f16")), Error); }

TEST(Shape, CountsItsElements) {
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ((Shape{3, 768}).elements(), 2304);
  EXPECT_EQ((Shape{3, 0, 5}).elements(), 0);
  EXPECT_EQ((Shape{std::int64_t{1} << 31, std::int64_t{1} << 31}).elements(), std::int64_t{1} << 62);
}

TEST(Shape, RefusesWhatCannotBeCounted) {
  const std::int64_t large = std::int64_t{1} << 32;
  EXPECT_THROW(static_cast<void>((Shape{large, large}).elements()), Error);
  EXPECT_THROW(static_cast<void>((Shape{large, large, 0}).elements()), Error);
  EXPECT_THROW(static_cast<void>((Shape{2, -1}).elements()), Error);
}

TEST(Shape, PrintsItself) {
  EXPECT_EQ(Shape{}.to_string(), "[]");
  EXPECT_EQ((Shape{3, 768}).to_string(), "[3, 768]");
}

TEST(Shape, KnowsItsAxes) {
  const Shape shape{2, 3, 5};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[1], 3);
  EXPECT_EQ(shape.last(), 5);
  EXPECT_EQ(Shape{}.last(), 1);
  EXPECT_EQ(shape, (Shape{std::vector<std::int64_t>{2, 3, 5}}));
  EXPECT_NE(shape, (Shape{2, 3}));
}

TEST(DeviceSpan, CutsByElementsOfItsType) {
  std::array<std::uint16_t, 8> memory{};
  const DeviceSpan span{memory.data(), 8, DType::kBF16};
  EXPECT_EQ(span.bytes(), 16);
  const ConstDeviceSpan part = span.subspan(3, 2);
  EXPECT_EQ(part.data, memory.data() + 3);
  EXPECT_EQ(part.size, 2);
  EXPECT_EQ(part.dtype, DType::kBF16);
  EXPECT_TRUE(span.subspan(8, 0).empty());
}

}  // namespace
}  // namespace ballast
