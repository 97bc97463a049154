#include "models/parameters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "compute/philox.h"

namespace ballast {
namespace {

constexpr std::int64_t kOffsetUnit = 16;  // elements: 64 bytes of f32, one cache line

/// FNV-1a, 64 bits.
std::uint64_t hash_of(const std::string& name) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  return hash;
}

/// Four numbers of a distribution with spread 1: standard normal, or uniform in [-1, 1).
std::array<float, 4> draw(Initializer::Kind kind, std::uint64_t key, std::int64_t block) {
  const auto counter = static_cast<std::uint64_t>(block);
  const PhiloxBlock words =
      philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0}, key);
  if (kind == Initializer::Kind::kXavier) {
    std::array<float, 4> numbers{};
    std::transform(words.begin(), words.end(), numbers.begin(), [](auto word) { return 2.0F * uniform(word) - 1.0F; });
    return numbers;
  }
  const auto [a, b] = normal_pair(words[0], words[1]);
  const auto [c, d] = normal_pair(words[2], words[3]);
  return {a, b, c, d};
}

/// What the numbers of draw() are multiplied with.
float spread_of(const Initializer& initializer) {
  switch (initializer.kind) {
    case Initializer::Kind::kXavier:
      return initializer.scale * std::sqrt(6.0F / static_cast<float>(initializer.fan_in + initializer.fan_out));
    case Initializer::Kind::kHe:
      return initializer.scale * std::sqrt(2.0F / static_cast<float>(initializer.fan_in));
    case Initializer::Kind::kNormal:
    case Initializer::Kind::kConstant:
      break;
  }
  return initializer.scale;
}

}  // namespace

int ParameterTable::add(std::string name, Shape shape, ParameterKind kind, Initializer initializer, DType compute) {
  if (find(name) >= 0) throw Error("parameter " + name + " is declared twice");
  const std::int64_t size = shape.elements();
  parameters_.push_back({std::move(name), std::move(shape), kind, initializer, compute, flat_size_, size});
  flat_size_ += (size + kOffsetUnit - 1) / kOffsetUnit * kOffsetUnit;
  return count() - 1;
}

std::int64_t ParameterTable::trained_elements() const {
  std::int64_t sum = 0;
  for (const Parameter& parameter : parameters_) {
    if (parameter.kind == ParameterKind::kTrained) sum += parameter.size;
  }
  return sum;
}

int ParameterTable::find(const std::string& name) const {
  const auto found =
      std::find_if(parameters_.begin(), parameters_.end(), [&](const auto& p) { return p.name == name; });
  return found == parameters_.end() ? -1 : static_cast<int>(found - parameters_.begin());
}

void initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t begin, std::span<float> out) {
  const Initializer& initializer = parameter.initializer;
  if (initializer.kind == Initializer::Kind::kConstant) {
    std::fill(out.begin(), out.end(), initializer.scale);
    return;
  }
  const std::uint64_t key = mix_key(seed, hash_of(parameter.name));
  const float spread = spread_of(initializer);
  std::array<float, 4> numbers{};
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::int64_t element = begin + static_cast<std::int64_t>(i);
    if (i == 0 || element % 4 == 0) numbers = draw(initializer.kind, key, element / 4);
    out[i] = spread * numbers[static_cast<std::size_t>(element % 4)];
  }
}

}  // namespace ballast
