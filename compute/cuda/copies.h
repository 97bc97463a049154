// Defines: Uploads, Downloads, ReturnArea: copies between device and host through pinned memory.
//
// A device copies from and to pinned memory by itself, at the bus's speed; pageable memory would make the caller wait.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "compute/cuda/handles.h"
#include "compute/tensor.h"

namespace ballast::cuda {

/// Host to device: the caller fills one piece of pinned memory while the device reads the other. Small copies share a
/// piece: behind work that waits for other workers the caller can queue many of them without waiting for it.
class Uploads {
 public:
  Uploads();
  /// In the order of `stream`; returns when `host` has been read.
  void copy(std::span<const std::byte> host, void* device, cudaStream_t stream);

 private:
  struct Piece {
    PinnedMemory memory;
    Event read;  ///< the device has read all of it that was given out
  };
  std::span<std::byte> take(std::size_t bytes);

  std::array<Piece, 2> pieces_;
  std::size_t piece_ = 0;  ///< the piece that is being filled
  std::size_t used_ = 0;   ///< its bytes in use
};

/// Device to host beside the compute stream. Two lanes take turns: on one a piece crosses the bus while on the other
/// the piece before it is copied from pinned memory to its place.
class Downloads {
 public:
  Downloads();
  ~Downloads();
  Downloads(const Downloads&) = delete;
  Downloads& operator=(const Downloads&) = delete;

  /// Begins behind the work that is on `compute` now. `host` must live until wait().
  void copy(const void* device, std::span<std::byte> host, cudaStream_t compute);
  /// Whether a copy may still read there.
  [[nodiscard]] bool reads(DeviceSpan memory) const;
  /// Work that is queued on `compute` from now on waits until no copy reads device memory any more.
  void order_before_write(cudaStream_t compute);
  /// Waits until all host memory is written.
  void wait();

 private:
  struct Piece {
    void* memory;
    std::byte* host;
    std::size_t bytes;
  };
  struct Lane {
    Stream stream;
    PinnedMemory memory;
    Event read;  ///< the device memory of the last copy has been read
  };
  struct Range {
    const std::byte* begin;
    const std::byte* end;
  };
  static void place(void* piece);
  void copy_piece(Lane& lane, const std::byte* device, std::span<std::byte> host);

  std::array<Lane, 2> lanes_;
  std::size_t next_ = 0;
  Event order_;
  std::vector<Range> reading_;  ///< what copies since the last wait() read
};

/// Pinned memory for small results, all given back at once. Grows by pieces, which stay where they are.
class ReturnArea {
 public:
  /// Whether take() need not grow.
  [[nodiscard]] bool has_room(std::size_t bytes) const;
  std::span<std::byte> take(std::size_t bytes);
  void clear();

 private:
  struct Piece {
    PinnedMemory memory;
    std::size_t bytes = 0;
  };
  std::vector<Piece> pieces_;
  std::size_t piece_ = 0;  ///< the piece that is being filled
  std::size_t used_ = 0;   ///< its bytes in use
};

}  // namespace ballast::cuda
