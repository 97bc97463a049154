#include "models/planner/arena.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace ballast {
namespace {

constexpr std::int64_t kSmallUnit = 64;      // a cache line
constexpr std::int64_t kLargeUnit = 4096;    // a page
constexpr std::int64_t kLargeBytes = 65536;  // from here on rounding up to pages costs little

std::int64_t unit_of(const Storage& s) { return s.bytes >= kLargeBytes ? kLargeUnit : kSmallUnit; }

std::int64_t round_up(std::int64_t value, std::int64_t unit) { return (value + unit - 1) / unit * unit; }

std::int64_t end_of(const Storage& s) { return s.offset + round_up(s.bytes, kSmallUnit); }

bool share_a_time(const Storage& a, const Storage& b) { return a.first <= b.last && b.first <= a.last; }

/// The smallest gap between `busy` (sorted by offset) that holds `s`, or the end.
std::int64_t best_offset(const Storage& s, const std::vector<const Storage*>& busy) {
  const std::int64_t need = round_up(s.bytes, kSmallUnit);
  std::int64_t best = -1, best_gap = std::numeric_limits<std::int64_t>::max(), top = 0;
  for (const Storage* other : busy) {
    const std::int64_t begin = round_up(top, unit_of(s));
    const std::int64_t gap = other->offset - begin;
    if (gap >= need && gap < best_gap) {
      best = begin;
      best_gap = gap;
    }
    top = std::max(top, end_of(*other));
  }
  return best >= 0 ? best : round_up(top, unit_of(s));
}

}  // namespace

// Greedy by size: the large ones are placed first and leave gaps that the small ones fill (Pisarchyk and Lee 2020,
// "Efficient memory management for deep neural net inference", found it within a few per cent of the lower bound).
std::int64_t place_storages(std::vector<Storage>& storages) {
  std::vector<std::size_t> order(storages.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return storages[a].bytes > storages[b].bytes; });
  std::vector<const Storage*> placed;  // sorted by offset
  std::vector<const Storage*> busy;
  std::int64_t arena_bytes = 0;
  for (const std::size_t index : order) {
    Storage& s = storages[index];
    busy.clear();
    std::copy_if(placed.begin(), placed.end(), std::back_inserter(busy),
                 [&](const Storage* other) { return share_a_time(s, *other); });
    s.offset = best_offset(s, busy);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), &s,
                                   [](const Storage* a, const Storage* b) { return a->offset < b->offset; }),
                  &s);
    arena_bytes = std::max(arena_bytes, end_of(s));
  }
  return arena_bytes;
}

}  // namespace ballast
