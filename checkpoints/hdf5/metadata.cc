#include "checkpoints/hdf5/metadata.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "checkpoints/format/digest.h"

namespace ballast {
namespace {

constexpr std::int64_t kPieceBytes = std::int64_t{1} << 20;

// Calls visit(offset, buffer) over all bytes of the ranges, in order.
template <class Visit>
void for_each_piece(std::span<const ByteRange> ranges, Visit visit) {
  std::vector<std::byte> buffer;
  for (const ByteRange& range : ranges) {
    for (std::int64_t at = range.begin; at < range.end; at += kPieceBytes) {
      buffer.resize(static_cast<std::size_t>(std::min(kPieceBytes, range.end - at)));
      visit(at, std::span(buffer));
    }
  }
}

}  // namespace

std::string write_metadata(File& file, const Hdf5Image& image, std::span<const ByteRange> ranges) {
  Digest digest;
  for_each_piece(ranges, [&](std::int64_t at, std::span<std::byte> bytes) {
    image.read(at, bytes);
    digest.update(bytes);
    file.write_at(at, bytes);
  });
  return digest.hex();
}

ReadMetadata read_metadata(File& file, std::int64_t size, std::span<const ByteRange> ranges) {
  ReadMetadata metadata;
  Digest digest;
  for_each_piece(ranges, [&](std::int64_t at, std::span<std::byte> bytes) {
    file.read_at(at, bytes);
    digest.update(bytes);
    metadata.image.write(at, bytes);
  });
  metadata.image.resize(size);
  metadata.digest = digest.hex();
  return metadata;
}

}  // namespace ballast
