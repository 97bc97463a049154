#include "runtime/evaluator.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace ballast {
namespace {

// Micro-batches whose sums are exchanged at once, so that no memory grows with the data.
constexpr std::int64_t kRound = 4096;

/// Reads samples of a data set and runs them forward.
class Forward {
 public:
  Forward(Model& model, const ParameterMemory& memory, const Dataset& data)
      : model_(model), memory_(memory), data_(data) {}

  /// Of the samples [begin, end).
  LossSums operator()(std::int64_t begin, std::int64_t end) {
    indices_.resize(static_cast<std::size_t>(end - begin));
    std::iota(indices_.begin(), indices_.end(), begin);
    data_.read(indices_, samples_);
    const Batch batch{
        .samples = end - begin, .features = samples_.features, .tokens = samples_.tokens, .targets = samples_.targets};
    return model_.forward(batch, Mode::kEvaluate, memory_);
  }

 private:
  Model& model_;
  const ParameterMemory& memory_;
  const Dataset& data_;
  Samples samples_;
  std::vector<std::int64_t> indices_;
};

}  // namespace

EvaluationResult evaluate(Model& model, const ParameterMemory& memory, const Dataset& data, std::int64_t micro,
                          std::int64_t limit, Communicator& world) {
  const std::int64_t samples = limit > 0 ? std::min(limit, data.size()) : data.size();
  const std::int64_t count = (samples + micro - 1) / micro;
  Forward forward(model, memory, data);
  std::array<double, 3> totals{};  // loss, rows, correct
  std::vector<double> sums;        // the same of each micro-batch of a round
  for (std::int64_t begin = 0; begin < count; begin += kRound) {
    const std::int64_t end = std::min(begin + kRound, count);
    sums.assign(static_cast<std::size_t>(3 * (end - begin)), 0.0);
    for (std::int64_t i = begin + world.rank(); i < end; i += world.size()) {
      const LossSums loss = forward(i * micro, std::min((i + 1) * micro, samples));
      const auto at = static_cast<std::size_t>(3 * (i - begin));
      sums[at] = loss.loss;
      sums[at + 1] = static_cast<double>(loss.rows);
      sums[at + 2] = static_cast<double>(loss.correct);
    }
    world.all_reduce_disjoint(sums);
    for (std::size_t i = 0; i < sums.size(); ++i) totals[i % 3] += sums[i];
  }
  const auto [loss, rows, correct] = totals;
  return {.loss = rows > 0 ? loss / rows : 0.0, .accuracy = rows > 0 ? correct / rows : 0.0, .samples = samples};
}

}  // namespace ballast
