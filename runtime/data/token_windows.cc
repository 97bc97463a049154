// Implements runtime/data/token_windows.h.
#include "runtime/data/token_windows.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ballast {
namespace {

constexpr std::int64_t kScanBytes = std::int64_t{64} << 20;  // checked when a file is opened; the rest when it is read

/// Tokens [begin, begin + layout.count) of a file, as windows.
class TokenWindows final : public Dataset {
 public:
  TokenWindows(DataFile file, const TokenLayout& layout, const InputSpec& input)
      : file_(std::move(file)),
        layout_(layout),
        positions_(input.sample[0]),
        vocabulary_(input.classes),
        fingerprint_(file_.fingerprint() + ":" + std::to_string(layout.first_byte) + "+" +
                     std::to_string(layout.count)) {}

  [[nodiscard]] std::int64_t size() const override { return layout_.count > 0 ? (layout_.count - 1) / positions_ : 0; }
  [[nodiscard]] std::string fingerprint() const override { return fingerprint_; }

  void read(std::span<const std::int64_t> indices, Samples& out) const override {
    const auto positions = static_cast<std::size_t>(positions_);
    out.features.clear();
    out.tokens.resize(indices.size() * positions);
    out.targets.resize(indices.size() * positions);
    std::vector<std::byte> buffer;
    std::vector<std::int32_t> window(positions + 1);
    for (std::size_t i = 0; i < indices.size(); ++i) {
      require(indices[i] >= 0 && indices[i] < size(), "sample index outside the data set");
      decode(indices[i] * positions_, buffer, window);
      std::copy_n(window.begin(), positions, out.tokens.begin() + i * positions);
      std::copy_n(window.begin() + 1, positions, out.targets.begin() + i * positions);
    }
  }

  /// Reads what a first look can afford, so that a wrong vocabulary shows before training.
  void scan() const {
    const std::int64_t count = std::min(layout_.count, kScanBytes / layout_.bytes);
    std::vector<std::byte> buffer;
    for (std::int64_t first = 0; first < count; first += kChunk) {
      std::vector<std::int32_t> chunk(static_cast<std::size_t>(std::min(kChunk, count - first)));
      decode(first, buffer, chunk);
    }
  }

 private:
  static constexpr std::int64_t kChunk = 1 << 16;

  void decode(std::int64_t first, std::vector<std::byte>& buffer, std::span<std::int32_t> tokens) const {
    buffer.resize(tokens.size() * static_cast<std::size_t>(layout_.bytes));
    const std::int64_t offset = layout_.first_byte + first * layout_.bytes;
    file_.read(offset, buffer);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      tokens[i] = layout_.bytes == 1 ? std::to_integer<std::int32_t>(buffer[i])
                                     : std::to_integer<std::int32_t>(buffer[2 * i]) |
                                           std::to_integer<std::int32_t>(buffer[2 * i + 1]) << 8;
      if (tokens[i] >= vocabulary_) refuse(offset + static_cast<std::int64_t>(i) * layout_.bytes, tokens[i]);
    }
  }

  [[noreturn]] void refuse(std::int64_t offset, std::int32_t token) const {
    throw data_error(file_.path(), offset,
                     "token " + std::to_string(token) + " is outside the vocabulary of " + std::to_string(vocabulary_) +
                         ". Raise model.vocabulary, or make the file again with the right tokeniser");
  }

  DataFile file_;
  TokenLayout layout_;
  std::int64_t positions_, vocabulary_;
  std::string fingerprint_;
};

std::unique_ptr<Dataset> open_part(DataFile file, const TokenLayout& layout, const InputSpec& input,
                                   const char* purpose) {
  const std::int64_t needed = input.sample[0] + 1;
  if (layout.count < needed) {
    throw data_error(file.path(), layout.first_byte + layout.count * layout.bytes,
                     "the tokens for " + std::string(purpose) + " end here: " + std::to_string(layout.count) +
                         ", but one sample needs " + std::to_string(needed) +
                         " (model.context + 1). Use a longer file or a smaller model.context");
  }
  auto part = std::make_unique<TokenWindows>(std::move(file), layout, input);
  if (layout.bytes > 1) part->scan();
  return part;
}

}  // namespace

Datasets open_windows(const DataSection& config, const InputSpec& input, TokenLayout (*layout_of)(const DataFile&)) {
  DataFile file(config.train);
  TokenLayout train = layout_of(file);
  Datasets sets;
  if (!config.validation.empty()) {
    DataFile other(config.validation);
    const TokenLayout validation = layout_of(other);
    sets.validation = open_part(std::move(other), validation, input, "validation");
  } else if (config.fraction > 0.0) {
    const std::int64_t tail = std::max(tail_samples(train.count, config.fraction), input.sample[0] + 1);
    train.count = std::max<std::int64_t>(0, train.count - tail);
    const TokenLayout validation{train.first_byte + train.count * train.bytes, tail, train.bytes};
    sets.train = open_part(std::move(file), train, input, "training");
    sets.validation = open_part(DataFile(config.train), validation, input, "validation");
    return sets;
  } else {
    sets.validation = std::make_unique<TokenWindows>(DataFile(config.train), TokenLayout{}, input);
  }
  sets.train = open_part(std::move(file), train, input, "training");
  return sets;
}

}  // namespace ballast
