// Defines: Snapshot: this worker's pieces of all tensors, copied or where they are, cut into segments, and written
// behind training.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.h"

namespace ballast {

/// Elements of one tensor that one worker writes.
struct PieceRange {
  std::int64_t tensor = 0, begin = 0, end = 0;
};

/// Throws Error(kInternal), the same on every worker, unless the workers' ranges cover every tensor exactly once.
void require_exact_cover(const std::vector<TensorSpec>& tensors, std::vector<PieceRange> ranges);

class Snapshot {
 public:
  Snapshot() = default;
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  ~Snapshot();

  /// Begins to download the pieces: `backend` may do it beside work that only reads them, and must live until
  /// complete(). The memory is kept from save to save: as much as the largest of them needed.
  void take(std::span<const ConstTensorPiece> pieces, Backend& backend);
  /// Copies nothing: the host reads the pieces where they are, in write().
  void refer_to(std::span<const ConstTensorPiece> pieces, Backend& backend);
  /// Whether the pieces are those of refer_to().
  [[nodiscard]] bool in_place() const { return in_place_; }
  /// Waits until everything is here. On the thread that works with the backend.
  void complete();

  /// After complete(). Writes everything at its place in the files in `directory` and syncs them. Returns the segments
  /// with their digests, which are of this memory. Throws when a stop is asked for.
  [[nodiscard]] std::vector<Checkpoint::Segment> write(FileSystem& files, const std::string& directory,
                                                       const std::vector<TensorSpec>& tensors,
                                                       const std::vector<std::int64_t>& offsets,
                                                       const std::stop_token& stop) const;

 private:
  struct Piece {
    int tensor = 0;
    std::int64_t begin = 0;
    std::span<const float> values;
  };
  std::unique_ptr<float[]> memory_;
  std::size_t capacity_ = 0;
  Backend* downloading_ = nullptr;  // until complete()
  std::vector<Piece> pieces_;
  bool in_place_ = false;
  int exceptions_ = std::uncaught_exceptions();
};

/// For messages between workers.
[[nodiscard]] std::string pack_segments(const std::vector<Checkpoint::Segment>& segments);
void unpack_segments(const std::string& packed, std::vector<Checkpoint::Segment>& segments);

}  // namespace ballast
