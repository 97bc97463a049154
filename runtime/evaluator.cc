#include "runtime/evaluator.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace ballast {

EvaluationResult evaluate(Model& model, const ParameterMemory& memory, const Dataset& data, std::int64_t micro,
                          std::int64_t limit, Communicator& world) {
  const std::int64_t samples = limit > 0 ? std::min(limit, data.size()) : data.size();
  const std::int64_t count = (samples + micro - 1) / micro;
  std::vector<double> sums(static_cast<std::size_t>(3 * count), 0.0);  // loss, rows, correct of each micro-batch
  Samples host;
  std::vector<std::int64_t> indices;
  for (std::int64_t i = world.rank(); i < count; i += world.size()) {
    const std::int64_t begin = i * micro;
    indices.resize(static_cast<std::size_t>(std::min(micro, samples - begin)));
    std::iota(indices.begin(), indices.end(), begin);
    data.read(indices, host);
    const Batch batch{.samples = static_cast<std::int64_t>(indices.size()),
                      .features = host.features,
                      .tokens = host.tokens,
                      .targets = host.targets};
    const LossSums loss = model.forward(batch, Mode::kEvaluate, memory);
    const auto at = static_cast<std::size_t>(3 * i);
    sums[at] = loss.loss;
    sums[at + 1] = static_cast<double>(loss.rows);
    sums[at + 2] = static_cast<double>(loss.correct);
  }
  world.all_reduce_disjoint(sums);
  double loss = 0.0;
  double rows = 0.0;
  double correct = 0.0;
  for (std::size_t at = 0; at < sums.size(); at += 3) {
    loss += sums[at];
    rows += sums[at + 1];
    correct += sums[at + 2];
  }
  return {.loss = rows > 0 ? loss / rows : 0.0, .accuracy = rows > 0 ? correct / rows : 0.0, .samples = samples};
}

}  // namespace ballast
