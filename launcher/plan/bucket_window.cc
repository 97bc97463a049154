#include "launcher/plan/bucket_window.h"

#include <algorithm>
#include <iterator>

#include "models/model.h"

namespace ballast {
namespace {

constexpr std::size_t kIdleBuckets = 4;  // of comm/split/value_gathering.h

}  // namespace

std::vector<int> BucketWindow::buckets_of(const ValueRanges& ranges) const {
  std::vector<int> numbers;
  for (const ElementRange& range : ranges) {
    auto bucket = std::partition_point(buckets_.begin(), buckets_.end(),
                                       [&](const BucketLoad& load) { return load.begin >= range.end; });
    for (; bucket != buckets_.end() && range.begin < bucket->end; ++bucket) {
      if (bucket->my_slices < bucket->slices) numbers.push_back(static_cast<int>(bucket - buckets_.begin()));
    }
  }
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
  return numbers;
}

std::vector<int> BucketWindow::next() {
  const ValueRanges& now = reads_[next_++];
  const std::span<const ValueRanges> rest = std::span(reads_).subspan(next_);
  std::vector<int> fetched = read(now, rest.first(std::min(kValuesAhead, rest.size())));
  if (!rest.empty()) return fetched;
  next_ = 0;
  static_cast<void>(read({}, {}));
  return fetched;
}

std::vector<int> BucketWindow::read(const ValueRanges& now, std::span<const ValueRanges> next) {
  std::vector<int> used, fetched;
  const auto use = [&](const ValueRanges& ranges) {
    for (const int bucket : buckets_of(ranges)) {
      if (std::find(used.begin(), used.end(), bucket) != used.end()) continue;
      used.push_back(bucket);
      const bool here = std::binary_search(used_.begin(), used_.end(), bucket) ||
                        std::find(idle_.begin(), idle_.end(), bucket) != idle_.end();
      if (!here) fetched.push_back(bucket);
    }
  };
  use(now);
  for (const ValueRanges& ranges : next) use(ranges);
  std::sort(used.begin(), used.end());
  std::set_difference(used_.begin(), used_.end(), used.begin(), used.end(), std::back_inserter(idle_));
  std::erase_if(idle_, [&](int bucket) { return std::binary_search(used.begin(), used.end(), bucket); });
  used_ = std::move(used);
  if (idle_.size() > kIdleBuckets) idle_.erase(idle_.begin(), idle_.end() - kIdleBuckets);
  most_bytes_ = std::max(most_bytes_, foreign_bytes(used_) + foreign_bytes(idle_));
  return fetched;
}

void BucketWindow::new_values() {
  used_.clear();
  idle_.clear();
}

double BucketWindow::foreign_bytes(const std::vector<int>& numbers) const {
  double bytes = 0.0;
  for (const int number : numbers) bytes += buckets_[static_cast<std::size_t>(number)].foreign_published();
  return bytes;
}

}  // namespace ballast
