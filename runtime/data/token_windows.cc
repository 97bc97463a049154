// Implements runtime/data/token_windows.h.
#include "runtime/data/token_windows.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace ballast {
namespace {

class TokenWindows final : public Dataset {
 public:
  TokenWindows(TokenRun run, const InputSpec& input)
      : fingerprint_(run.fingerprint()),
        set_(std::move(run.files)),
        pieces_(std::move(run.pieces)),
        positions_(input.sample[0]),
        vocabulary_(input.classes) {
    std::int64_t end = 0;
    for (const TokenPiece& piece : pieces_) ends_.push_back(end += piece.windows(positions_));
  }

  [[nodiscard]] std::int64_t size() const override { return ends_.back(); }
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
      read_window(indices[i], buffer, window);
      std::copy_n(window.begin(), positions, out.tokens.begin() + i * positions);
      std::copy_n(window.begin() + 1, positions, out.targets.begin() + i * positions);
    }
  }

 private:
  void read_window(std::int64_t index, std::vector<std::byte>& buffer, std::span<std::int32_t> window) const {
    const auto after = std::ranges::upper_bound(ends_, index);
    const TokenPiece& piece = pieces_[static_cast<std::size_t>(after - ends_.begin())];
    const std::int64_t in_piece = index - (*after - piece.windows(positions_));
    read_tokens(set_, piece, in_piece * positions_, vocabulary_, buffer, window);
  }

  std::string fingerprint_;
  FileSet set_;
  std::vector<TokenPiece> pieces_;  // at least one
  std::int64_t positions_, vocabulary_;
  std::vector<std::int64_t> ends_;  // of each piece's samples
};

std::unique_ptr<Dataset> open_part(TokenRun run, const InputSpec& input, const char* purpose) {
  const std::int64_t needed = input.sample[0] + 1;
  if (run.windows(input.sample[0]) == 0) {
    const auto& [file, tokens] =
        *std::ranges::max_element(run.pieces, {}, [](const TokenPiece& piece) { return piece.tokens.count; });
    throw data_error(run.files[file].path, tokens.first_byte + tokens.count * tokens.bytes,
                     "the tokens for " + std::string(purpose) + " end here: " + std::to_string(tokens.count) +
                         ", but one sample needs " + std::to_string(needed) +
                         " (model.context + 1). Use a longer file or a smaller model.context");
  }
  if (run.pieces.front().tokens.bytes > 1) check_vocabulary(run, input.classes);
  return std::make_unique<TokenWindows>(std::move(run), input);
}

}  // namespace

Datasets open_windows(const DataSection& config, const InputSpec& input, FindTokens find_tokens) {
  TokenRun train = open_run(config.train, find_tokens);
  Datasets sets;
  if (!config.validation.empty()) {
    sets.validation = open_part(open_run(config.validation, find_tokens), input, "validation");
  } else if (config.fraction > 0.0) {
    const std::int64_t tail = std::max(tail_samples(train.tokens(), config.fraction), input.sample[0] + 1);
    sets.validation = open_part(split_tail(train, tail, input.sample[0]), input, "validation");
  } else {
    const TokenPiece nothing{};
    sets.validation = std::make_unique<TokenWindows>(TokenRun{train.files, {nothing}, train.files_fingerprint}, input);
  }
  sets.train = open_part(std::move(train), input, "training");
  return sets;
}

}  // namespace ballast
