#include "runtime/generator.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "compute/error.h"
#include "compute/philox.h"

namespace ballast {
namespace {

// Index drawn from softmax(logits / temperature) over the top_k largest; `u` is uniform in [0, 1).
std::int32_t draw(const std::vector<float>& logits, const GenerateOptions& options, double u) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  if (options.temperature <= 0.0) return order.front();
  if (options.top_k > 0 && options.top_k < static_cast<std::int64_t>(order.size())) {
    order.resize(static_cast<std::size_t>(options.top_k));
  }
  const double largest = logits[static_cast<std::size_t>(order.front())];
  std::vector<double> weights;
  weights.reserve(order.size());
  for (const std::int32_t token : order) {
    weights.push_back(std::exp((logits[static_cast<std::size_t>(token)] - largest) / options.temperature));
  }
  double left = u * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (std::size_t i = 0; i < order.size(); ++i) {
    left -= weights[i];
    if (left < 0.0) return order[i];
  }
  return order.back();
}

void check_prompt(const std::vector<std::int32_t>& prompt, const InputSpec& input) {
  if (input.kind != InputSpec::Kind::kTokens)
    throw ConfigError("generate needs a model that reads tokens, such as gpt");
  if (prompt.empty()) throw ConfigError("the prompt is empty: give at least one character");
  for (const std::int32_t token : prompt) {
    if (token >= 0 && token < input.classes) continue;
    throw ConfigError("prompt token " + std::to_string(token) + " is outside the vocabulary of " +
                      std::to_string(input.classes));
  }
}

}  // namespace

void generate(Model& model, const ParameterMemory& memory, std::vector<std::int32_t> prompt,
              const GenerateOptions& options, const std::function<void(std::int32_t)>& emit) {
  const InputSpec& input = model.input();
  check_prompt(prompt, input);
  const auto positions = static_cast<std::size_t>(input.sample[0]);
  std::vector<std::int32_t> window(positions);
  const std::vector<std::int32_t> no_targets(positions, -1);
  std::vector<float> logits(static_cast<std::size_t>(input.classes));
  for (std::int64_t i = 0; i < options.tokens; ++i) {
    // The latest tokens at the start of the window; attention is causal, so what stands behind them cannot be seen.
    const std::size_t length = std::min(prompt.size(), positions);
    std::fill(std::copy(prompt.end() - static_cast<std::ptrdiff_t>(length), prompt.end(), window.begin()), window.end(),
              0);
    model.forward({.samples = 1, .tokens = window, .targets = no_targets}, Mode::kEvaluate, memory);
    const std::array<std::int64_t, 1> row = {static_cast<std::int64_t>(length) - 1};
    model.download_logits(row, logits);
    const PhiloxBlock words = philox({static_cast<std::uint32_t>(i), 0, 0, 0}, mix_key(options.seed, 0x67656e65));
    prompt.push_back(draw(logits, options, uniform(words[0])));
    emit(prompt.back());
  }
}

}  // namespace ballast
