#include "launcher/tensor_summary.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ballast {
namespace {

constexpr std::int64_t kChunk = 1 << 20;  // elements

/// Calls `visit` with every element, in order. A tensor of one chunk is read once however often it is walked.
class Walk {
 public:
  Walk(std::int64_t elements, const ReadElements& read)
      : elements_(elements), read_(read), chunk_(static_cast<std::size_t>(std::min(elements, kChunk))) {}

  template <class Visit>
  void operator()(Visit visit) {
    for (std::int64_t begin = 0; begin < elements_; begin += kChunk) {
      const auto size = static_cast<std::size_t>(std::min(kChunk, elements_ - begin));
      const std::span<float> out(chunk_.data(), size);
      if (loaded_ != begin) read_(begin, out);
      loaded_ = begin;
      for (const float value : out) visit(static_cast<double>(value));
    }
  }

 private:
  std::int64_t elements_;
  const ReadElements& read_;
  std::vector<float> chunk_;
  std::int64_t loaded_ = -1;
};

}  // namespace

TensorSummary summarise(std::int64_t elements, const ReadElements& read) {
  TensorSummary summary{.elements = elements};
  Walk walk(elements, read);
  double sum = 0.0, squares = 0.0;
  std::int64_t finite = 0;
  walk([&](double value) {
    if (!std::isfinite(value)) return;
    summary.min = finite == 0 ? value : std::min(summary.min, value);
    summary.max = finite == 0 ? value : std::max(summary.max, value);
    sum += value;
    squares += value * value;
    ++finite;
  });
  summary.not_finite = elements - finite;
  summary.norm = std::sqrt(squares);
  summary.mean = finite == 0 ? 0.0 : sum / static_cast<double>(finite);

  const auto bins = static_cast<double>(summary.histogram.size());
  const double width = summary.max - summary.min;
  walk([&](double value) {
    if (!std::isfinite(value)) return;
    const double position = width > 0.0 ? (value - summary.min) / width * bins : 0.0;
    ++summary.histogram[static_cast<std::size_t>(std::min(position, bins - 1.0))];
  });
  return summary;
}

std::string histogram_text(const TensorSummary& summary, bool unicode) {
  constexpr std::array<const char*, 9> kBlocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::array<const char*, 9> kAscii = {" ", ".", ":", "-", "=", "+", "*", "#", "@"};
  const std::int64_t fullest = *std::max_element(summary.histogram.begin(), summary.histogram.end());
  std::string text;
  for (const std::int64_t count : summary.histogram) {
    const double share = fullest == 0 ? 0.0 : static_cast<double>(count) / static_cast<double>(fullest);
    const auto level = static_cast<std::size_t>(std::ceil(share * 8.0));
    text += unicode ? kBlocks[level] : kAscii[level];
  }
  return text;
}

}  // namespace ballast
