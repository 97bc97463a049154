#include "runtime/supervision/straggler.h"

#include <algorithm>
#include <cmath>

namespace ballast {
namespace {

constexpr double kLost = 0.5, kApart = 0.25;

std::string percent(double share) { return std::to_string(std::lround(100.0 * share)) + " %"; }

double median(std::vector<double> numbers) {
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::ranges::nth_element(numbers, middle);
  return *middle;
}

std::vector<double> without(std::vector<double> numbers, int index) {
  numbers.erase(numbers.begin() + index);
  return numbers;
}

}  // namespace

int straggler_among(const std::vector<double>& shares) {
  if (shares.size() < 2) return -1;
  const auto least = static_cast<int>(std::ranges::min_element(shares) - shares.begin());
  const double its = shares[static_cast<std::size_t>(least)];
  const std::vector<double> others = without(shares, least);
  const bool costly = median(others) - its >= kLost && std::ranges::min(others) - its >= kApart;
  return costly ? least : -1;
}

std::string StragglerWatch::look(const std::vector<WorkerFacts>& workers) {
  std::vector<Sample> samples;
  std::vector<double> shares;
  for (std::size_t rank = 0; rank < workers.size(); ++rank) {
    Sample sample;
    if (workers[rank].log && workers[rank].log->header.step > 1) {
      sample = {workers[rank].log->header.alive_ns, workers[rank].log->header.waited_ns};
    }
    const Sample before = last_.empty() ? Sample{} : last_[rank];
    if (before.moment_ns != 0 && sample.moment_ns > before.moment_ns) {
      const auto waited = static_cast<double>(sample.waited_ns - before.waited_ns);
      shares.push_back(std::min(1.0, waited / static_cast<double>(sample.moment_ns - before.moment_ns)));
    }
    samples.push_back(sample);
  }
  last_ = std::move(samples);
  if (shares.size() != workers.size()) return "";
  const int rank = straggler_among(shares);
  if (rank == named_ || rank < 0) {
    named_ = rank;
    return "";
  }
  named_ = rank;
  const auto at = static_cast<std::size_t>(rank);
  return "rank " + std::to_string(rank) + " on " + workers[at].log->header.host.data() +
         " was slower than the others: it waited " + percent(shares[at]) + " of the time, the others " +
         percent(median(without(shares, rank))) + ". Look for what else runs there";
}

}  // namespace ballast
