#include "runtime/worker.h"

#include <algorithm>

namespace ballast {
namespace {

constexpr std::int64_t kZeroElements = 1 << 20;

double ordered_sum(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum;
}

Batch batch_of(const Samples& samples, std::int64_t count, std::int64_t step, std::int64_t first) {
  return {.samples = count,
          .step = static_cast<std::uint64_t>(step),
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

Worker::Worker(Model& model, SplitAllReduce& gradients, ShardRange shards, const Dataset& data, const BatchPlan& plan,
               std::int64_t micro, PhaseClock& clock, Backend& backend)
    : model_(model),
      backend_(backend),
      gradients_(gradients),
      shards_(shards),
      plan_(plan),
      micro_(micro),
      clock_(clock),
      reader_(data) {}

void Worker::compute_gradients(std::int64_t step, StepTotals& totals) {
  clock_.enter(Phase::kData);
  if (step != next_step_) {
    cut_step(step, next_pieces_);
    if (!next_pieces_.empty()) reader_.request(next_pieces_.front().indices);
  }
  pieces_.swap(next_pieces_);
  cut_step(step + 1, next_pieces_);
  next_step_ = step + 1;

  gradients_.begin_step();
  const ShardRange mine = gradients_.my_shards();
  auto piece = pieces_.begin();
  for (int shard = mine.begin; shard < mine.end; ++shard) {
    const DeviceSpan gradients = gradients_.gradients(shard);
    if (piece == pieces_.end() || piece->shard != shard) zero_empty_shard(gradients);
    for (; piece != pieces_.end() && piece->shard == shard; ++piece) {
      const bool ends_shard = piece + 1 == pieces_.end() || (piece + 1)->shard != shard;
      compute_micro_batch(step, *piece, ends_shard, totals);
    }
    gradients_.gradients_ready(0);
    gradients_.shard_done(shard);
  }
  if (pieces_.empty() && !next_pieces_.empty()) reader_.request(next_pieces_.front().indices);
  clock_.enter(Phase::kCommunication);
}

void Worker::zero_empty_shard(DeviceSpan gradients) {
  for (std::int64_t end = gradients.size; end > 0;) {
    const std::int64_t begin = std::max<std::int64_t>(0, end - kZeroElements);
    backend_.zero(gradients.subspan(begin, end - begin));
    gradients_.gradients_ready(begin);
    end = begin;
  }
}

void Worker::cut_step(std::int64_t step, std::vector<MicroBatch>& pieces) const {
  pieces.clear();
  const ShardRange mine = gradients_.my_shards();
  for (int shard = mine.begin; shard < mine.end; ++shard) {
    std::int64_t first = 0;
    const std::vector<std::int64_t> indices = plan_.shard(step, shards_.begin + shard, first);
    const auto count = static_cast<std::int64_t>(indices.size());
    for (std::int64_t begin = 0; begin < count; begin += micro_) {
      const std::int64_t end = std::min(begin + micro_, count);
      pieces.push_back({shard, first + begin, {indices.begin() + begin, indices.begin() + end}});
    }
  }
}

void Worker::compute_micro_batch(std::int64_t step, const MicroBatch& piece, bool ends_shard, StepTotals& totals) {
  clock_.enter(Phase::kData);
  const Samples& samples = reader_.take();
  const MicroBatch* next = &piece != &pieces_.back() ? &piece + 1
                           : next_pieces_.empty()    ? nullptr
                                                     : &next_pieces_.front();
  if (next != nullptr) reader_.request(next->indices);

  const double size = static_cast<double>(plan_.samples_of(step, shards_));
  const auto loss_scale = static_cast<float>(1.0 / (size * static_cast<double>(model_.input().targets_per_sample)));
  const bool begins_shard = &piece == &pieces_.front() || (&piece - 1)->shard != piece.shard;
  const ParameterMemory memory{gradients_.values(), gradients_.compute_values(), gradients_.gradients(piece.shard),
                               begins_shard, [this](auto now, auto soon) { use_values(now, soon); }};
  const Batch batch = batch_of(samples, static_cast<std::int64_t>(piece.indices.size()), step, piece.first);
  const GradientsReady send = [this](std::int64_t offset) { gradients_.gradients_ready(offset); };
  enter_pass(Phase::kForward);
  const LossSums sums = model_.forward_backward(batch, memory, loss_scale, static_cast<float>(1.0 / size),
                                                ends_shard ? send : nullptr, [this] { enter_pass(Phase::kBackward); });
  const auto at = static_cast<std::size_t>(shards_.begin) + static_cast<std::size_t>(piece.shard);
  totals.loss[at] += sums.loss;
  totals.rows[at] += static_cast<double>(sums.rows);
  totals.correct[at] += static_cast<double>(sums.correct);
}

void Worker::use_values(std::span<const ElementRange> now, std::span<const ElementRange> next) {
  clock_.enter(Phase::kCommunication);
  gradients_.use_values(now, next);
  clock_.enter(pass_);
}

}  // namespace ballast
