#include "checkpoints/format/regions.h"

#include <algorithm>

#include "compute/error.h"

namespace ballast {
namespace {

struct Placed {
  ByteRange range;
  const TensorSpec* tensor;
};

std::vector<Placed> placed_in(const std::vector<TensorSpec>& tensors, const std::vector<std::int64_t>& offsets,
                              TensorFile file) {
  std::vector<Placed> placed;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::int64_t bytes = bytes_of(tensors[i]);
    if (tensors[i].file == file && bytes > 0) placed.push_back({{offsets[i], offsets[i] + bytes}, &tensors[i]});
  }
  std::sort(placed.begin(), placed.end(),
            [](const Placed& a, const Placed& b) { return a.range.begin < b.range.begin; });
  return placed;
}

}  // namespace

std::int64_t bytes_of(const TensorSpec& tensor) { return tensor.shape.elements() * std::int64_t{sizeof(float)}; }

std::vector<ByteRange> metadata_ranges(const std::vector<TensorSpec>& tensors, const std::vector<std::int64_t>& offsets,
                                       TensorFile file, std::int64_t size, const std::string& path) {
  std::vector<ByteRange> ranges;
  std::int64_t at = 0;
  for (const Placed& placed : placed_in(tensors, offsets, file)) {
    if (placed.range.begin < at) {
      throw DataError(path + ": tensor '" + placed.tensor->name + "' overlaps the one before it");
    }
    if (placed.range.end > size) {
      throw DataError(path + ": tensor '" + placed.tensor->name + "' reaches beyond the end of the file");
    }
    if (placed.range.begin > at) ranges.push_back({at, placed.range.begin});
    at = placed.range.end;
  }
  if (size > at) ranges.push_back({at, size});
  return ranges;
}

}  // namespace ballast
