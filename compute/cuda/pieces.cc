#include "compute/cuda/pieces.h"

#include <algorithm>

namespace ballast::cuda {

namespace {

constexpr std::int64_t kAlignment = 256;

}  // namespace

PieceList PieceList::whole(std::int64_t size) {
  PieceList list;
  list.size_ = size;
  list.count_ = (size + kPieceElements - 1) / kPieceElements;
  list.owners_.assign(static_cast<std::size_t>(list.count_), 0);
  return list;
}

PieceList PieceList::of_parts(std::span<const ElementRange> parts) {
  PieceList list;
  for (std::size_t i = 0; i < parts.size(); ++i) list.cut(parts[i], static_cast<std::int32_t>(i));
  return list;
}

PieceList PieceList::of_parts_and_gaps(std::span<const ElementRange> parts, std::int64_t size) {
  PieceList list;
  std::int64_t before = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    list.cut({before, parts[i].begin}, -1);
    list.cut(parts[i], static_cast<std::int32_t>(i));
    before = parts[i].end;
  }
  list.cut({before, size}, -1);
  return list;
}

void PieceList::cut(ElementRange range, std::int32_t owner) {
  for (std::int64_t begin = range.begin; begin < range.end; begin += kPieceElements) {
    ranges_.push_back({begin, std::min(begin + kPieceElements, range.end)});
    owners_.push_back(owner);
  }
  count_ = static_cast<std::int64_t>(ranges_.size());
}

std::pair<Pieces, void*> PieceList::on_device(Queue& queue, std::int64_t results) const {
  const std::span<const std::byte> list = std::as_bytes(std::span(ranges_));
  const std::int64_t list_bytes = (static_cast<std::int64_t>(list.size()) + kAlignment - 1) / kAlignment * kAlignment;
  auto* const memory = static_cast<std::byte*>(queue.scratch(list_bytes + results));
  if (list.empty()) return {Pieces{nullptr, size_}, memory};
  queue.upload(list, memory);
  return {Pieces{reinterpret_cast<const ElementRange*>(memory), size_}, memory + list_bytes};
}

}  // namespace ballast::cuda
