// Defines: Pieces, PieceList: how a slice of the flat buffers is cut for sums and updates.
//
// A piece is at most 8192 neighbouring elements and belongs to one block of threads, which adds up its squares in one
// fixed order. So a part has the same bits whether it is summed alone or with others, whatever device it is on.
#pragma once

#include <vector_types.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "compute/backend.h"
#include "compute/cuda/queue.h"

namespace ballast::cuda {

constexpr std::int64_t kPieceElements = 8192;
constexpr int kPieceThreads = 256;
constexpr int kPieceRun = 4;  ///< elements that a thread handles at once

/// What a kernel knows of pieces: a list, or a whole span cut from its begin.
struct Pieces {
  const ElementRange* list = nullptr;
  std::int64_t size = 0;  ///< elements, where there is no list
};

/// The pieces of one call on the host: which ranges there are, and whose they are.
class PieceList {
 public:
  /// A whole span of `size` elements, as one part.
  static PieceList whole(std::int64_t size);
  /// The parts alone, or with what lies between them in [0, size), which then belongs to no part.
  static PieceList of_parts(std::span<const ElementRange> parts);
  static PieceList of_parts_and_gaps(std::span<const ElementRange> parts, std::int64_t size);

  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] dim3 grid() const { return {static_cast<unsigned>(count_), 1, 1}; }

  /// Space in the queue's scratch memory for the list, which is copied there, and `results` bytes behind it.
  [[nodiscard]] std::pair<Pieces, void*> on_device(Queue& queue, std::int64_t results) const;

  /// The part that each piece belongs to, or -1.
  [[nodiscard]] const std::vector<std::int32_t>& owners() const { return owners_; }

 private:
  void cut(ElementRange range, std::int32_t owner);

  std::int64_t size_ = 0;
  std::int64_t count_ = 0;
  std::vector<ElementRange> ranges_;  ///< empty for a whole span
  std::vector<std::int32_t> owners_;  ///< empty for a whole span
};

}  // namespace ballast::cuda
