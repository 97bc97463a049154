#include "compute/cuda/copies.h"

#include <algorithm>
#include <cstring>
#include <memory>

namespace ballast::cuda {

namespace {

constexpr std::size_t kPiece = std::size_t{4} << 20;        // bytes that cross the bus at once
constexpr std::size_t kReturnPiece = std::size_t{1} << 20;  // bytes of results that the area begins with
constexpr std::size_t kAlignment = 64;                      // of small copies: whole cache lines; divides a piece

std::size_t whole_lines(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Uploads::Uploads() {
  for (Piece& piece : pieces_) piece = {make_pinned(kPiece), make_event()};
}

void Uploads::copy(std::span<const std::byte> host, void* device, cudaStream_t stream) {
  for (std::size_t begin = 0; begin < host.size();) {
    const std::span<std::byte> room = take(host.size() - begin);
    std::memcpy(room.data(), host.data() + begin, room.size());
    check(cudaMemcpyAsync(static_cast<std::byte*>(device) + begin, room.data(), room.size(), cudaMemcpyHostToDevice,
                          stream));
    check(cudaEventRecord(pieces_[piece_].read.get(), stream));
    begin += room.size();
  }
}

/// At most `bytes` of the piece that is being filled; once it is full, of the other one when the device has read that.
std::span<std::byte> Uploads::take(std::size_t bytes) {
  if (used_ == kPiece) {
    piece_ = (piece_ + 1) % pieces_.size();
    used_ = 0;
    check(cudaEventSynchronize(pieces_[piece_].read.get()));
  }
  std::byte* const begin = static_cast<std::byte*>(pieces_[piece_].memory.get()) + used_;
  const std::size_t size = std::min(bytes, kPiece - used_);
  used_ += whole_lines(size);
  return {begin, size};
}

Downloads::Downloads() : order_(make_event()) {
  for (Lane& lane : lanes_) lane = {make_stream(), make_pinned(kPiece), make_event()};
}

Downloads::~Downloads() {
  for (Lane& lane : lanes_) (void)cudaStreamSynchronize(lane.stream.get());
}

void Downloads::copy(const void* device, std::span<std::byte> host, cudaStream_t compute) {
  if (host.empty()) return;
  const auto* const from = static_cast<const std::byte*>(device);
  for (Lane& lane : lanes_) order_after(lane.stream.get(), order_.get(), compute);
  for (std::size_t begin = 0; begin < host.size(); begin += kPiece) {
    copy_piece(lanes_[next_], from + begin, host.subspan(begin, std::min(kPiece, host.size() - begin)));
    next_ = (next_ + 1) % lanes_.size();
  }
  reading_.push_back({from, from + host.size()});
}

void Downloads::copy_piece(Lane& lane, const std::byte* device, std::span<std::byte> host) {
  check(cudaMemcpyAsync(lane.memory.get(), device, host.size(), cudaMemcpyDeviceToHost, lane.stream.get()));
  check(cudaEventRecord(lane.read.get(), lane.stream.get()));
  auto piece = std::make_unique<Piece>(Piece{lane.memory.get(), host.data(), host.size()});
  check(cudaLaunchHostFunc(lane.stream.get(), &Downloads::place, piece.get()));
  (void)piece.release();  // place() frees it
}

/// Runs on a thread of the driver, in the order of the lane's stream.
void Downloads::place(void* piece) {
  const std::unique_ptr<Piece> owned(static_cast<Piece*>(piece));
  std::memcpy(owned->host, owned->memory, owned->bytes);
}

bool Downloads::reads(DeviceSpan memory) const {
  if (memory.empty()) return false;
  const auto* const begin = static_cast<const std::byte*>(memory.data);
  const std::byte* const end = begin + memory.bytes();
  return std::any_of(reading_.begin(), reading_.end(),
                     [&](const Range& range) { return begin < range.end && range.begin < end; });
}

void Downloads::order_before_write(cudaStream_t compute) {
  // The lanes run in order, so their last copies end after all others.
  for (const Lane& lane : lanes_) check(cudaStreamWaitEvent(compute, lane.read.get(), 0));
  reading_.clear();
}

void Downloads::wait() {
  for (const Lane& lane : lanes_) check(cudaStreamSynchronize(lane.stream.get()));
  reading_.clear();
}

bool ReturnArea::has_room(std::size_t bytes) const {
  const std::size_t size = whole_lines(bytes);
  for (std::size_t piece = piece_; piece < pieces_.size(); ++piece) {
    if ((piece == piece_ ? used_ : 0) + size <= pieces_[piece].bytes) return true;
  }
  return false;
}

std::span<std::byte> ReturnArea::take(std::size_t bytes) {
  const std::size_t size = whole_lines(bytes);
  while (piece_ < pieces_.size() && used_ + size > pieces_[piece_].bytes) {
    ++piece_;
    used_ = 0;
  }
  if (piece_ == pieces_.size()) {
    const std::size_t fresh = std::max(size, kReturnPiece);
    pieces_.push_back({make_pinned(fresh), fresh});
  }
  std::byte* const begin = static_cast<std::byte*>(pieces_[piece_].memory.get()) + used_;
  used_ += size;
  return {begin, bytes};
}

void ReturnArea::clear() {
  piece_ = 0;
  used_ = 0;
}

}  // namespace ballast::cuda
