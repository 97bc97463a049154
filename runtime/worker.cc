#include "runtime/worker.h"

#include <algorithm>

namespace ballast {
namespace {

double ordered_sum(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum;
}

Batch batch_of(const Samples& samples, std::int64_t count, std::int64_t step, std::int64_t first) {
  return {.samples = count,
          .step = static_cast<std::uint32_t>(step),
          .first_sample = static_cast<std::uint32_t>(first),
          .features = samples.features,
          .tokens = samples.tokens,
          .targets = samples.targets};
}

}  // namespace

void StepTotals::clear() {
  for (auto* sums : {&loss, &rows, &correct}) std::fill(sums->begin(), sums->end(), 0.0);
}

double StepTotals::mean_loss() const { return ordered_sum(loss) / ordered_sum(rows); }

Worker::Worker(Model& model, SplitAllReduce& gradients, const Dataset& data, const BatchPlan& plan, std::int64_t micro)
    : model_(model), gradients_(gradients), data_(data), plan_(plan), micro_(micro) {}

void Worker::compute_gradients(std::int64_t step, StepTotals& totals) {
  totals.clear();
  gradients_.begin_step();
  const ShardRange mine = gradients_.my_shards();
  for (int shard = mine.begin; shard < mine.end; ++shard) {
    compute_shard(step, shard, shard + 1 == mine.end, totals);
    gradients_.shard_done(shard);
  }
}

void Worker::compute_shard(std::int64_t step, int shard, bool last, StepTotals& totals) {
  std::int64_t first = 0;
  const std::vector<std::int64_t> indices = plan_.shard(step, shard, first);
  const auto count = static_cast<std::int64_t>(indices.size());
  const double batch = static_cast<double>(plan_.batch_size(step));
  const auto loss_scale = static_cast<float>(1.0 / (batch * static_cast<double>(model_.input().targets_per_sample)));
  const auto statistic_scale = static_cast<float>(1.0 / batch);
  const ParameterMemory memory{gradients_.values(), gradients_.compute_values(), gradients_.gradients(shard)};
  const GradientsReady keep = [](std::int64_t) {};
  const GradientsReady send = [this](std::int64_t offset) { gradients_.gradients_ready(offset); };

  const auto at = static_cast<std::size_t>(shard);
  for (std::int64_t begin = 0; begin < count; begin += micro_) {
    const std::int64_t size = std::min(micro_, count - begin);
    data_.read(std::span(indices).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size)), samples_);
    const Batch batch_of_micro = batch_of(samples_, size, step, first + begin);
    const LossSums sums = model_.forward(batch_of_micro, Mode::kTrain, memory);
    totals.loss[at] += sums.loss;
    totals.rows[at] += static_cast<double>(sums.rows);
    totals.correct[at] += static_cast<double>(sums.correct);
    model_.backward(batch_of_micro, memory, loss_scale, statistic_scale, last && begin + size == count ? send : keep);
  }
  if (last && count == 0) gradients_.gradients_ready(0);
}

}  // namespace ballast
