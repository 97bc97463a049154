// Implements Checkpoint: opening, reading, verifying. No byte is parsed or handed out before its digest has been
// checked.
#include "checkpoints/checkpoint.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "checkpoints/format/digest.h"
#include "checkpoints/format/manifest.h"
#include "checkpoints/format/names.h"
#include "checkpoints/format/regions.h"
#include "checkpoints/format/state.h"
#include "checkpoints/format/wire.h"
#include "checkpoints/hdf5/layout.h"
#include "checkpoints/hdf5/metadata.h"
#include "compute/error.h"

namespace ballast {
namespace {

std::string read_text(FileSystem& files, const std::string& path, std::int64_t most) {
  const auto file = files.open_read(path);
  const std::int64_t size = file->size();
  if (size > most) throw DataError(path + ": damaged: larger than such a file can be");
  std::string text(static_cast<std::size_t>(size), '\0');
  file->read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

// The manifest lets no tensor reach outside the file, but what lies between tensors could still be a sparse terabyte.
void check_metadata_size(std::span<const ByteRange> ranges, std::size_t tensors, const std::string& path) {
  const std::int64_t most = (std::int64_t{16} << 20) + static_cast<std::int64_t>(tensors) * (std::int64_t{16} << 10);
  const std::int64_t bytes =
      std::accumulate(ranges.begin(), ranges.end(), std::int64_t{0},
                      [](std::int64_t sum, const ByteRange& r) { return sum + r.end - r.begin; });
  if (bytes > most) throw DataError(path + ": damaged: too many bytes between its tensors");
}

std::string directory_name(const std::string& directory) {
  const std::size_t end = directory.find_last_not_of('/');
  const std::size_t slash = directory.find_last_of('/', end);
  const std::size_t begin = slash == std::string::npos ? 0 : slash + 1;
  return end == std::string::npos ? "" : directory.substr(begin, end + 1 - begin);
}

template <typename Piece>
std::vector<Piece> in_order_of_the_files(std::span<const Piece> pieces) {
  std::vector<Piece> sorted(pieces.begin(), pieces.end());
  std::ranges::sort(sorted, {}, [](const Piece& piece) { return std::pair(piece.tensor, piece.begin); });
  return sorted;
}

}  // namespace

Checkpoint::Checkpoint(FileSystem& files, const std::string& directory, std::string manifest_text,
                       const std::string& state_text)
    : files_(&files), directory_(directory), manifest_text_(std::move(manifest_text)) {
  Manifest manifest = decode_manifest(manifest_text_, directory + "/" + kManifestFile);
  const std::string state_path = directory + "/" + kStateFile;
  const StoredFile& stored = manifest.files.back();
  if (static_cast<std::int64_t>(state_text.size()) != stored.size || digest_of(state_text) != stored.digest) {
    throw DataError(state_path + ": damaged: it is not the one that the manifest describes");
  }
  state_ = decode_state(state_text, state_path);
  if (state_.step != manifest.step || step_of(directory_name(directory)).value_or(manifest.step) != manifest.step) {
    throw DataError(directory + ": damaged: its name, its manifest and its state tell different steps");
  }
  stored_ = std::move(manifest.files);
  tensors_ = std::move(manifest.tensors);
  offsets_ = std::move(manifest.offsets);
  segments_ = std::move(manifest.segments);
}

Checkpoint Checkpoint::open_unparsed(FileSystem& files, const std::string& directory) {
  std::string manifest = read_text(files, directory + "/" + kManifestFile, kMaxManifestBytes);
  const std::string state = read_text(files, directory + "/" + kStateFile, kStateFrameBytes + kMaxStateBytes);
  return {files, directory, std::move(manifest), state};
}

Checkpoint Checkpoint::open(FileSystem& files, const std::string& directory) {
  Checkpoint checkpoint = open_unparsed(files, directory);
  checkpoint.check_structure(true);
  return checkpoint;
}

std::string Checkpoint::path_of(TensorFile file) const { return directory_ + "/" + file_name_of(file); }

// All bytes of the HDF5 files that are not tensor data: their digests, and once these are right, that HDF5 sees in them
// what the manifest says.
void Checkpoint::check_structure(bool parse) const {
  for (std::size_t i = 0; i < kTensorFiles.size(); ++i) {
    const std::string path = path_of(kTensorFiles[i]);
    const auto file = files_->open_read(path);
    if (file->size() != stored_[i].size) {
      throw DataError(path + ": damaged: " + std::to_string(file->size()) + " bytes, the manifest says " +
                      std::to_string(stored_[i].size));
    }
    const auto ranges = metadata_ranges(tensors_, offsets_, kTensorFiles[i], stored_[i].size, path);
    check_metadata_size(ranges, tensors_.size(), path);
    ReadMetadata metadata = read_metadata(*file, stored_[i].size, ranges);
    if (metadata.digest != stored_[i].digest) {
      throw DataError(path + ": damaged: the digest of its HDF5 structure differs");
    }
    if (!parse) continue;
    std::vector<TensorSpec> tensors;
    std::vector<std::int64_t> offsets;
    for (std::size_t t = 0; t < tensors_.size(); ++t) {
      if (tensors_[t].file != kTensorFiles[i]) continue;
      tensors.push_back(tensors_[t]);
      offsets.push_back(offsets_[t]);
    }
    check_layout(metadata.image, tensors, offsets, path);
  }
}

std::int64_t Checkpoint::bytes() const {
  std::int64_t bytes = static_cast<std::int64_t>(manifest_text_.size());
  for (const StoredFile& file : stored_) bytes += file.size;
  return bytes;
}

/// The tensor files of one call, opened at first use.
class Checkpoint::OpenFiles {
 public:
  explicit OpenFiles(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}
  File& of(TensorFile tensor_file) {
    auto& file = files_[static_cast<std::size_t>(tensor_file)];
    if (!file) file = checkpoint_.files_->open_read(checkpoint_.path_of(tensor_file));
    return *file;
  }

 private:
  const Checkpoint& checkpoint_;
  std::array<std::unique_ptr<File>, kTensorFiles.size()> files_;
};

/// Those that hold elements [begin, begin + size).
std::span<const Checkpoint::Segment> Checkpoint::segments_of(int tensor, std::int64_t begin, std::int64_t size) const {
  require(tensor >= 0 && tensor < static_cast<int>(tensors_.size()), "a piece of a tensor that is not there");
  const std::int64_t end = begin + size;
  require(begin >= 0 && end <= tensors_[static_cast<std::size_t>(tensor)].shape.elements(),
          "a piece reaches outside its tensor");
  const auto first = std::partition_point(segments_.begin(), segments_.end(), [&](const Segment& s) {
    return std::pair(s.tensor, s.end) <= std::pair(tensor, begin);
  });
  const auto last = std::partition_point(
      first, segments_.end(), [&](const Segment& s) { return std::pair(s.tensor, s.begin) < std::pair(tensor, end); });
  return {first, last};
}

void Checkpoint::read_segment(OpenFiles& files, const Segment& segment, std::span<float> values) const {
  const auto tensor = static_cast<std::size_t>(segment.tensor);
  const auto bytes = std::as_writable_bytes(values);
  files.of(tensors_[tensor].file).read_at(offsets_[tensor] + segment.begin * std::int64_t{sizeof(float)}, bytes);
  if (digest_of(bytes) == segment.digest) return;
  throw DataError(path_of(tensors_[tensor].file) + ": damaged: tensor '" + tensors_[tensor].name + "', elements " +
                  std::to_string(segment.begin) + " to " + std::to_string(segment.end) + ", has another digest");
}

/// The latest segment of which a piece wanted only a part: the next piece may want the rest.
class Checkpoint::HeldSegment {
 public:
  HeldSegment(const Checkpoint& checkpoint, OpenFiles& files) : checkpoint_(checkpoint), files_(files) {}
  /// Elements [begin, end) of the tensor that `s` is of; they lie in `s`.
  std::span<const float> part(const Segment& s, std::int64_t begin, std::int64_t end) {
    if (held_ != &s) {
      held_ = nullptr;
      values_.resize(static_cast<std::size_t>(s.end - s.begin));
      checkpoint_.read_segment(files_, s, values_);
      held_ = &s;
    }
    return std::span(values_).subspan(static_cast<std::size_t>(begin - s.begin), static_cast<std::size_t>(end - begin));
  }

 private:
  const Checkpoint& checkpoint_;
  OpenFiles& files_;
  const Segment* held_ = nullptr;
  std::vector<float> values_;
};

void Checkpoint::read(std::span<const HostPiece> pieces) const {
  OpenFiles files(*this);
  HeldSegment held(*this, files);
  for (const HostPiece& piece : in_order_of_the_files(pieces)) {
    const auto size = static_cast<std::int64_t>(piece.values.size());
    const std::int64_t end = piece.begin + size;
    for (const Segment& s : segments_of(piece.tensor, piece.begin, size)) {
      if (s.begin >= piece.begin && s.end <= end) {
        read_segment(files, s,
                     piece.values.subspan(static_cast<std::size_t>(s.begin - piece.begin),
                                          static_cast<std::size_t>(s.end - s.begin)));
        continue;
      }
      const std::int64_t from = std::max(s.begin, piece.begin);
      std::ranges::copy(held.part(s, from, std::min(s.end, end)), piece.values.begin() + (from - piece.begin));
    }
  }
}

void Checkpoint::read(std::span<const TensorPiece> pieces, Backend& backend) const {
  if (backend.host_addressable()) {
    std::vector<HostPiece> in_place;
    for (const TensorPiece& piece : pieces) {
      auto* values = static_cast<float*>(piece.values.data);
      in_place.push_back({piece.tensor, piece.begin, {values, static_cast<std::size_t>(piece.values.size)}});
    }
    backend.synchronize();  // it may still be working on what was there
    return read(in_place);
  }
  OpenFiles files(*this);
  HeldSegment held(*this, files);
  for (const TensorPiece& piece : in_order_of_the_files(pieces)) {
    for (const Segment& s : segments_of(piece.tensor, piece.begin, piece.values.size)) {
      const std::int64_t from = std::max(s.begin, piece.begin), to = std::min(s.end, piece.begin + piece.values.size);
      backend.upload(std::as_bytes(held.part(s, from, to)), piece.values.subspan(from - piece.begin, to - from));
      backend.synchronize();  // its memory is filled again
    }
  }
}

void Checkpoint::verify() const {
  const std::string manifest = read_text(*files_, directory_ + "/" + kManifestFile, kMaxManifestBytes);
  if (manifest != manifest_text_)
    throw DataError(directory_ + "/" + kManifestFile + ": has changed since it was opened");
  const std::string state = read_text(*files_, directory_ + "/" + kStateFile, kStateFrameBytes + kMaxStateBytes);
  if (digest_of(state) != stored_.back().digest) throw DataError(directory_ + "/" + kStateFile + ": damaged");
  check_structure(false);
  std::vector<float> values;
  OpenFiles files(*this);
  for (const Segment& segment : segments_) {
    values.resize(static_cast<std::size_t>(segment.end - segment.begin));
    read_segment(files, segment, values);
  }
}

std::string Checkpoint::weights_digest() const {
  std::vector<int> order;
  for (int i = 0; i < static_cast<int>(tensors_.size()); ++i) {
    if (tensors_[static_cast<std::size_t>(i)].file == TensorFile::kWeights) order.push_back(i);
  }
  const auto name = [&](int i) -> const std::string& { return tensors_[static_cast<std::size_t>(i)].name; };
  std::sort(order.begin(), order.end(), [&](int a, int b) { return name(a) < name(b); });
  Digest digest;
  std::vector<float> values;
  for (const int i : order) {
    const Shape& shape = tensors_[static_cast<std::size_t>(i)].shape;
    digest.update(static_cast<std::int64_t>(name(i).size()));
    digest.update(name(i));
    digest.update(static_cast<std::int64_t>(shape.rank()));
    for (const std::int64_t dim : shape.dims()) digest.update(dim);
    for (std::int64_t begin = 0; begin < shape.elements(); begin += kSegmentElements) {
      values.resize(static_cast<std::size_t>(std::min(kSegmentElements, shape.elements() - begin)));
      const HostPiece piece{i, begin, values};
      read({&piece, 1});
      digest.update(std::as_bytes(std::span(values)));
    }
  }
  return digest.hex();
}

std::string Checkpoint::pack() const { return ballast::pack({directory_, manifest_text_, encode_state(state_)}); }

}  // namespace ballast
