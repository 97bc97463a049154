#include "comm/link_cost.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "compute/error.h"

namespace ballast {

namespace {

/// The x by which sum(log(x f / t)^2) is least, and that sum, for messages that should take t = x f.
struct Fit {
  double x = 0.0, error = 0.0;
};

template <typename Factor>
Fit fit(std::span<const MessageTime> times, const Factor& factor) {
  const auto log_ratio = [&](const MessageTime& time) { return std::log(time.seconds / factor(time)); };
  double sum = 0.0, error = 0.0;
  for (const MessageTime& time : times) sum += log_ratio(time);
  const double mean = sum / static_cast<double>(times.size());
  for (const MessageTime& time : times) error += (log_ratio(time) - mean) * (log_ratio(time) - mean);
  return {std::exp(mean), error};
}

}  // namespace

LinkCost fit_link_cost(std::vector<MessageTime> times) {
  require(times.size() > 1, "fit_link_cost: needs two times");
  std::sort(times.begin(), times.end(), [](const MessageTime& a, const MessageTime& b) { return a.bytes < b.bytes; });
  const std::span<const MessageTime> all(times);
  LinkCost best;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t border = 1; border < all.size(); ++border) {
    const Fit piece = fit(all.first(border), [](const MessageTime&) { return 1.0; });
    const Fit byte = fit(all.subspan(border), [](const MessageTime& time) { return static_cast<double>(time.bytes); });
    if (piece.error + byte.error >= least) continue;
    least = piece.error + byte.error;
    best = {.piece_seconds = piece.x, .bytes_per_second = 1.0 / byte.x};
  }
  return best;
}

}  // namespace ballast
