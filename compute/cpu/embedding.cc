// Defines: embedding, embedding_backward.
// Axes: B = samples, T = positions, C = width, V = vocabulary.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/cpu/embedding.cc"
#include "hwy/foreach_target.h"
// Highway includes this file again, once for every instruction set: the line above stays first.
#include <string>

#include "compute/cpu/kernels.h"
#include "compute/cpu/simd_inl.h"

HWY_BEFORE_NAMESPACE();
namespace ballast {
namespace HWY_NAMESPACE {
namespace {

void add_row(ConstDeviceSpan a, ConstDeviceSpan b, DeviceSpan y) { map_spans(AddOne(), y, a, b); }

/// sums += x, f32 or bf16.
void add_row_to(ConstDeviceSpan x, float* sums) {
  if (x.dtype == DType::kBF16) return map(AddOne(), x.size, sums, sums, static_cast<const Bf16*>(x.data));
  map(AddOne(), x.size, sums, sums, static_cast<const float*>(x.data));
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ballast
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ballast {

HWY_EXPORT(add_row);
HWY_EXPORT(add_row_to);

namespace {

/// C. Throws Error for arguments that do not fit together.
std::int64_t width_of(std::int64_t rows, std::int64_t positions, ConstDeviceSpan tokens, ConstDeviceSpan token_table,
                      ConstDeviceSpan position_table, ConstDeviceSpan x) {
  require(tokens.size == rows && tokens.dtype == DType::kI32, "embedding: tokens are not i32 [samples, positions]");
  require(x.size % rows == 0, "embedding: x is not [samples, positions, width]");
  const std::int64_t width = x.size / rows;
  require(width > 0 && token_table.size % width == 0, "embedding: the token table is not [vocabulary, width]");
  require(position_table.size >= positions * width, "embedding: the position table is shorter than [positions, width]");
  const std::int64_t vocabulary = token_table.size / width;
  const auto* token = static_cast<const std::int32_t*>(tokens.data);
  for (std::int64_t r = 0; r < rows; ++r) {
    if (token[r] >= 0 && token[r] < vocabulary) continue;
    throw DataError("token " + std::to_string(token[r]) + " is outside the vocabulary of " +
                    std::to_string(vocabulary) + ": check model.vocabulary against the data set");
  }
  return width;
}

}  // namespace

void embedding(ThreadPool& pool, std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
               ConstDeviceSpan token_table, ConstDeviceSpan position_table, DeviceSpan x) {
  const std::int64_t rows = samples * positions;
  if (rows == 0) return;
  const std::int64_t width = width_of(rows, positions, tokens, token_table, position_table, x);
  require(token_table.dtype == x.dtype && position_table.dtype == x.dtype,
          "embedding: the tables differ from x in type");
  const auto* token = static_cast<const std::int32_t*>(tokens.data);
  const auto kernel = HWY_DYNAMIC_DISPATCH(add_row);
  pool.run_ranges(rows, std::max<std::int64_t>(1, 16384 / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      kernel(token_table.subspan(token[r] * width, width), position_table.subspan(r % positions * width, width),
             x.subspan(r * width, width));
    }
  });
}

void embedding_backward(ThreadPool& pool, std::int64_t samples, std::int64_t positions, ConstDeviceSpan tokens,
                        ConstDeviceSpan dx, DeviceSpan dtoken_table, DeviceSpan dposition_table) {
  const std::int64_t rows = samples * positions;
  if (rows == 0) return;
  const std::int64_t width = width_of(rows, positions, tokens, dtoken_table, dposition_table, dx);
  require(dtoken_table.dtype == DType::kF32 && dposition_table.dtype == DType::kF32,
          "embedding_backward: gradients of tables are f32");
  const auto* token = static_cast<const std::int32_t*>(tokens.data);
  auto* const dtoken = static_cast<float*>(dtoken_table.data);
  auto* const dposition = static_cast<float*>(dposition_table.data);
  const auto kernel = HWY_DYNAMIC_DISPATCH(add_row_to);
  // A token may stand in many rows: tasks own columns, and each takes the rows in order.
  constexpr std::int64_t kColumns = 64;
  pool.run_ranges(width, kColumns, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = 0; r < rows; ++r) {
      kernel(dx.subspan(r * width + begin, end - begin), dtoken + token[r] * width + begin);
    }
  });
  pool.run_ranges(positions, std::max<std::int64_t>(1, 16384 / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = 0; b < samples; ++b) {
      const std::int64_t first = (b * positions + begin) * width;
      kernel(dx.subspan(first, (end - begin) * width), dposition + begin * width);
    }
  });
}

}  // namespace ballast
#endif
