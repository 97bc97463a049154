// Implements open_synthetic of runtime/data/formats.h.
//
// Legend: c = class, e = element of a sample, s_t = token at position t, a, b = constants of the data set, V = size of
// the alphabet.
//   features   x_e = cos(2 pi (f_c . position(e)) + p_c) + noise      a wave with the frequency and phase of its class
//   tokens     s_t+1 = (a s_t + b) mod V, or, one time in ten, any token
// Both can be learnt by every model that takes them, and the noise keeps the loss above zero.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "compute/philox.h"
#include "runtime/data/formats.h"

namespace ballast {
namespace {

enum class Use : std::uint32_t { kClass, kWave, kNoise, kSequence, kConstants };

constexpr std::int64_t kLargestAlphabet = 64;  // small, so that a table of pairs is soon learnt
constexpr float kNoise = 0.5F;
constexpr float kSurprise = 0.1F;

PhiloxBlock draw(std::uint64_t seed, Use use, std::int64_t index, std::int64_t element) {
  const auto bits = static_cast<std::uint64_t>(index);
  return philox({static_cast<std::uint32_t>(element), static_cast<std::uint32_t>(bits),
                 static_cast<std::uint32_t>(bits >> 32), static_cast<std::uint32_t>(use)},
                seed);
}

/// The sum of two uniform numbers, scaled to mean 0 and variance 1: as good as a normal one here, at a tenth of its
/// cost.
float noise(std::uint32_t word) {
  const float sum = static_cast<float>(static_cast<std::int32_t>((word & 0xFFFFU) + (word >> 16)) - 0xFFFF);
  return sum * (std::numbers::sqrt2_v<float> * std::numbers::sqrt3_v<float> / 65536.0F);
}

/// Samples [first, first + count) of the endless data set of a seed.
class Synthetic : public Dataset {
 public:
  Synthetic(const char* kind, std::uint64_t seed, std::int64_t first, std::int64_t count)
      : fingerprint_(std::string("synthetic-") + kind + ":" + std::to_string(seed) + ":" + std::to_string(first) + "+" +
                     std::to_string(count)),
        seed_(seed),
        first_(first),
        count_(count) {}

  [[nodiscard]] std::int64_t size() const override { return count_; }
  [[nodiscard]] std::string fingerprint() const override { return fingerprint_; }

 protected:
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  [[nodiscard]] std::int64_t position(std::int64_t index) const {
    require(index >= 0 && index < count_, "sample index outside the data set");
    return first_ + index;
  }

 private:
  std::string fingerprint_;
  std::uint64_t seed_;
  std::int64_t first_, count_;
};

/// Rows and columns are the first two dimensions of a sample; a flat sample is one row.
class SyntheticFeatures final : public Synthetic {
 public:
  SyntheticFeatures(const InputSpec& input, std::uint64_t seed, std::int64_t first, std::int64_t count)
      : Synthetic("features", seed, first, count),
        rows_(input.sample.rank() > 1 ? input.sample[0] : 1),
        columns_(input.sample.rank() > 1 ? input.sample[1] : input.sample.elements()),
        elements_(input.sample.elements()),
        classes_(input.classes) {
    for (std::int64_t label = 0; label < classes_; ++label) waves_.push_back(wave_of(label));
  }

  void read(std::span<const std::int64_t> indices, Samples& out) const override {
    const auto elements = static_cast<std::size_t>(elements_);
    out.tokens.clear();
    out.features.resize(indices.size() * elements);
    out.targets.resize(indices.size());
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const std::int64_t index = position(indices[i]);
      out.targets[i] = static_cast<std::int32_t>(draw(seed(), Use::kClass, index, 0)[0] % classes_);
      fill(index, out.targets[i], std::span(out.features).subspan(i * elements, elements));
    }
  }

 private:
  /// The wave of class `label`, in every pixel.
  [[nodiscard]] std::vector<float> wave_of(std::int64_t label) const {
    constexpr float kTurn = 2.0F * std::numbers::pi_v<float>;
    const PhiloxBlock words = draw(seed(), Use::kWave, label, 0);
    const float row_turns = 0.5F + 4.0F * uniform(words[0]);
    const float column_turns = 0.5F + 4.0F * uniform(words[1]);
    const float phase = uniform(words[2]);
    std::vector<float> wave;
    for (std::int64_t pixel = 0; pixel < rows_ * columns_; ++pixel) {
      const std::int64_t row = pixel / columns_, column = pixel % columns_;
      const float turns = row_turns * static_cast<float>(row) / static_cast<float>(rows_) +
                          column_turns * static_cast<float>(column) / static_cast<float>(columns_) + phase;
      wave.push_back(std::cos(kTurn * turns));
    }
    return wave;
  }

  void fill(std::int64_t index, std::int32_t label, std::span<float> sample) const {
    const std::vector<float>& wave = waves_[static_cast<std::size_t>(label)];
    const auto per_pixel = static_cast<std::size_t>(elements_ / (rows_ * columns_));
    for (std::size_t e = 0; e < sample.size(); e += 4) {
      const PhiloxBlock words = draw(seed(), Use::kNoise, index, static_cast<std::int64_t>(e / 4));
      for (std::size_t i = 0; i < std::min<std::size_t>(4, sample.size() - e); ++i) {
        sample[e + i] = wave[(e + i) / per_pixel] + kNoise * noise(words[i]);
      }
    }
  }

  std::int64_t rows_, columns_, elements_, classes_;
  std::vector<std::vector<float>> waves_;  // by class
};

class SyntheticTokens final : public Synthetic {
 public:
  SyntheticTokens(const InputSpec& input, std::uint64_t seed, std::int64_t first, std::int64_t count)
      : Synthetic("tokens", seed, first, count),
        positions_(input.sample[0]),
        alphabet_(std::min(input.classes, kLargestAlphabet)) {
    const PhiloxBlock words = draw(seed, Use::kConstants, 0, 0);
    a_ = 1 + words[0] % alphabet_;
    while (std::gcd(a_, alphabet_) != 1) ++a_;  // a bijection, so that a sequence does not run into a fixed point
    b_ = words[1] % alphabet_;
  }

  void read(std::span<const std::int64_t> indices, Samples& out) const override {
    const auto positions = static_cast<std::size_t>(positions_);
    out.features.clear();
    out.tokens.resize(indices.size() * positions);
    out.targets.resize(indices.size() * positions);
    for (std::size_t i = 0; i < indices.size(); ++i) {
      const std::int64_t index = position(indices[i]);
      std::int64_t token = draw(seed(), Use::kSequence, index, 0)[2] % alphabet_;
      for (std::size_t t = 0; t < positions; ++t) {
        out.tokens[i * positions + t] = static_cast<std::int32_t>(token);
        const PhiloxBlock words = draw(seed(), Use::kSequence, index, static_cast<std::int64_t>(t));
        token = uniform(words[0]) < kSurprise ? words[1] % alphabet_ : (a_ * token + b_) % alphabet_;
        out.targets[i * positions + t] = static_cast<std::int32_t>(token);
      }
    }
  }

 private:
  std::int64_t positions_, alphabet_, a_ = 1, b_ = 0;
};

std::unique_ptr<Dataset> make_part(const InputSpec& input, std::uint64_t seed, std::int64_t first, std::int64_t count) {
  if (input.kind == InputSpec::Kind::kTokens) return std::make_unique<SyntheticTokens>(input, seed, first, count);
  return std::make_unique<SyntheticFeatures>(input, seed, first, count);
}

}  // namespace

Datasets open_synthetic(const DataSection& config, const InputSpec& input, std::uint64_t seed) {
  const std::int64_t tail = tail_samples(config.samples, config.fraction);
  if (config.samples <= tail) {
    throw ConfigError("data.samples = " + std::to_string(config.samples) +
                      " leaves nothing to train on after data.validation is split off: raise data.samples");
  }
  const std::int64_t cut = config.samples - tail;
  Datasets sets;
  sets.train = make_part(input, seed, 0, cut);
  sets.validation = make_part(input, seed, cut, tail);
  return sets;
}

}  // namespace ballast
