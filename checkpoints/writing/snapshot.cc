#include "checkpoints/writing/snapshot.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include "checkpoints/format/digest.h"
#include "checkpoints/format/manifest.h"
#include "checkpoints/format/names.h"
#include "compute/error.h"

namespace ballast {
namespace {

struct PackedSegment {
  std::int64_t tensor = 0, begin = 0, end = 0;
  char digest[kDigestDigits] = {};
};

}  // namespace

void require_exact_cover(const std::vector<TensorSpec>& tensors, std::vector<PieceRange> ranges) {
  std::erase_if(ranges, [](const PieceRange& range) { return range.begin == range.end; });
  std::sort(ranges.begin(), ranges.end(), [](const PieceRange& a, const PieceRange& b) {
    return a.tensor != b.tensor ? a.tensor < b.tensor : a.begin < b.begin;
  });
  auto range = ranges.begin();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::int64_t covered = 0;
    for (; range != ranges.end() && range->tensor == static_cast<std::int64_t>(i); ++range) {
      if (range->begin != covered || range->end < range->begin) break;
      covered = range->end;
    }
    if (covered != tensors[i].shape.elements()) {
      throw Error("the workers' pieces of tensor '" + tensors[i].name + "' do not cover it exactly once from element " +
                  std::to_string(covered));
    }
  }
  require(range == ranges.end(), "a worker has a piece of a tensor that is not there");
}

// A device may still write here. To wait for it while the job fails could hang the job before its error is printed: the
// memory stays until the process ends.
Snapshot::~Snapshot() {
  try {
    if (std::uncaught_exceptions() == exceptions_) complete();
  } catch (const std::exception&) {  // the device failed: its copies may still be under way
  }
  if (downloading_ != nullptr) static_cast<void>(memory_.release());
}

void Snapshot::take(std::span<const ConstTensorPiece> pieces, Backend& backend) {
  complete();  // of a save that was given up
  std::size_t size = 0;
  for (const ConstTensorPiece& piece : pieces) size += static_cast<std::size_t>(piece.values.size);
  pieces_.clear();
  in_place_ = false;
  if (size > capacity_) {
    memory_.reset();
    capacity_ = 0;
    memory_ = std::make_unique_for_overwrite<float[]>(size);
    capacity_ = size;
  }
  downloading_ = &backend;
  std::size_t at = 0;
  for (const ConstTensorPiece& piece : pieces) {
    if (piece.values.empty()) continue;
    require(piece.values.dtype == DType::kF32, "a piece of a checkpoint is not f32");
    const std::span<float> values(memory_.get() + at, static_cast<std::size_t>(piece.values.size));
    backend.download(piece.values, std::as_writable_bytes(values));
    pieces_.push_back({piece.tensor, piece.begin, values});
    at += values.size();
  }
}

void Snapshot::refer_to(std::span<const ConstTensorPiece> pieces, Backend& backend) {
  complete();
  backend.synchronize();
  pieces_.clear();
  in_place_ = true;
  for (const ConstTensorPiece& piece : pieces) {
    if (piece.values.empty()) continue;
    require(piece.values.dtype == DType::kF32, "a piece of a checkpoint is not f32");
    const std::span values(static_cast<const float*>(piece.values.data), static_cast<std::size_t>(piece.values.size));
    pieces_.push_back({piece.tensor, piece.begin, values});
  }
}

void Snapshot::complete() {
  if (downloading_ == nullptr) return;
  downloading_->synchronize();
  downloading_ = nullptr;
}

// Cuts lie at multiples of kSegmentElements within a tensor, and where one worker's piece ends.
std::vector<Checkpoint::Segment> Snapshot::write(FileSystem& files, const std::string& directory,
                                                 const std::vector<TensorSpec>& tensors,
                                                 const std::vector<std::int64_t>& offsets,
                                                 const std::stop_token& stop) const {
  std::vector<Checkpoint::Segment> segments;
  for (const TensorFile tensor_file : kTensorFiles) {
    std::unique_ptr<File> file;
    for (const Piece& piece : pieces_) {
      const auto tensor = static_cast<std::size_t>(piece.tensor);
      if (tensors[tensor].file != tensor_file) continue;
      if (!file) file = files.open_write(directory + "/" + file_name_of(tensor_file));
      const std::int64_t last = piece.begin + static_cast<std::int64_t>(piece.values.size());
      for (std::int64_t begin = piece.begin, end = 0; begin < last; begin = end) {
        if (stop.stop_requested()) throw Error("given up: the job ends");
        end = std::min(last, (begin / kSegmentElements + 1) * kSegmentElements);
        const auto bytes = std::as_bytes(
            piece.values.subspan(static_cast<std::size_t>(begin - piece.begin), static_cast<std::size_t>(end - begin)));
        segments.push_back({piece.tensor, begin, end, digest_of(bytes)});
        file->write_at(offsets[tensor] + begin * std::int64_t{sizeof(float)}, bytes);
      }
    }
    if (!file) continue;
    file->sync();
    file->close();
  }
  return segments;
}

std::string pack_segments(const std::vector<Checkpoint::Segment>& segments) {
  std::string packed;
  for (const Checkpoint::Segment& segment : segments) {
    PackedSegment p{segment.tensor, segment.begin, segment.end, {}};
    std::copy_n(segment.digest.begin(), kDigestDigits, p.digest);
    packed.append(reinterpret_cast<const char*>(&p), sizeof p);
  }
  return packed;
}

void unpack_segments(const std::string& packed, std::vector<Checkpoint::Segment>& segments) {
  for (std::size_t at = 0; at + sizeof(PackedSegment) <= packed.size(); at += sizeof(PackedSegment)) {
    PackedSegment p;
    std::memcpy(&p, packed.data() + at, sizeof p);
    segments.push_back({static_cast<int>(p.tensor), p.begin, p.end, std::string(p.digest, kDigestDigits)});
  }
}

}  // namespace ballast
