#include "runtime/coordinator.h"

#include <algorithm>
#include <cmath>

#include "compute/error.h"

namespace ballast {
namespace {

constexpr float kStatisticMomentum =
    0.9F;  // running = 0.9 running + 0.1 batch, as the batch normalisation paper's users expect

}  // namespace

Coordinator::Coordinator(const ParameterTable& parameters, SplitAllReduce& gradients, Backend& backend,
                         Communicator& world, const JobConfig& config, std::int64_t total_steps, PhaseClock& clock,
                         TensorNames names)
    : parameters_(parameters),
      gradients_(gradients),
      backend_(backend),
      world_(world),
      config_(config.optimizer),
      schedule_(config.schedule),
      total_steps_(total_steps),
      clock_(clock),
      names_(std::move(names)),
      optimizer_(make_optimizer(config.optimizer)),
      runs_(parameters, gradients.blocks(), gradients.my_slices()) {
  for (std::size_t i = 0; i < optimizer_->states().size(); ++i) {
    states_.emplace_back(backend_, std::max<std::int64_t>(runs_.state_elements(), 1), DType::kF32);
    backend_.zero(states_.back().span());
  }
}

StepOutcome Coordinator::update(std::int64_t step, StepTotals& totals, unsigned flags, bool want_statistics) {
  clock_.enter(Phase::kCommunication);
  gradients_.reduce();
  clock_.enter(Phase::kUpdate);
  square_blocks();
  clock_.enter(Phase::kCommunication);
  agree(totals, flags);
  clock_.enter(Phase::kUpdate);
  const double norm = global_norm(step);
  const double lr = learning_rate(schedule_, config_.lr, step, total_steps_);
  if (want_statistics) sums_.assign(runs_.block_parameter().size(), {});
  apply(step, norm, lr);
  clock_.enter(Phase::kCommunication);
  gradients_.publish();
  clock_.enter(Phase::kOther);
  if (want_statistics) collect_statistics();
  sums_.clear();

  StepOutcome outcome{.gradient_norm = norm, .lr = lr};
  for (int rank = 0; rank < world_.size(); ++rank) {
    const auto bits = static_cast<unsigned>(agreed_[agreed_.size() - static_cast<std::size_t>(world_.size() - rank)]);
    outcome.add_flags(bits);
  }
  return outcome;
}

void Coordinator::square_blocks() {
  agreed_ = gradients_.squares();
  for (const OwnedRun& run : runs_) {
    if (parameters_[run.parameter].kind == ParameterKind::kTrained) continue;
    const std::vector<Block>& blocks = gradients_.blocks();
    for (auto at = static_cast<std::size_t>(run.first_block); at < blocks.size() && blocks[at].begin < run.end; ++at) {
      agreed_[at] = 0.0;
    }
  }
}

// One small collective per step: 8 bytes per block (1 / 4096 of the gradient), three sums per shard and one word per
// worker.
void Coordinator::agree(StepTotals& totals, unsigned flags) {
  for (auto* sums : {&totals.loss, &totals.rows, &totals.correct}) {
    agreed_.insert(agreed_.end(), sums->begin(), sums->end());
  }
  const std::size_t flags_at = agreed_.size();
  agreed_.resize(flags_at + static_cast<std::size_t>(world_.size()), 0.0);
  agreed_[flags_at + static_cast<std::size_t>(world_.rank())] = flags;
  world_.all_reduce_disjoint(agreed_);
  auto from = agreed_.begin() + static_cast<std::ptrdiff_t>(runs_.block_parameter().size());
  for (auto* sums : {&totals.loss, &totals.rows, &totals.correct}) {
    const auto to = from + static_cast<std::ptrdiff_t>(sums->size());
    std::copy(from, to, sums->begin());
    from = to;
  }
}

double Coordinator::global_norm(std::int64_t step) const {
  double squares = 0.0;
  for (std::size_t b = 0; b < runs_.block_parameter().size(); ++b) {
    if (!std::isfinite(agreed_[b])) {
      throw Error("step " + std::to_string(step) + ": the gradient of " + parameters_[runs_.block_parameter()[b]].name +
                  " is not finite. Lower optimizer.lr, set optimizer.clip or lengthen schedule.warmup, and start again "
                  "from the last "
                  "checkpoint");
    }
    squares += agreed_[b];
  }
  return std::sqrt(squares);
}

UpdateRule Coordinator::rule_for(const Parameter& parameter, const UpdateRule& base) const {
  if (parameter.kind == ParameterKind::kStatistic) return {.kind = UpdateKind::kAverage, .beta1 = kStatisticMomentum};
  UpdateRule rule = base;
  if (!parameter.decays()) rule.weight_decay = rule.l1 = rule.l2 = 0.0F;
  return rule;
}

UpdateRun Coordinator::memory_of(const OwnedRun& run, std::int64_t begin, std::int64_t end) const {
  const Parameter& parameter = parameters_[run.parameter];
  const std::int64_t size = end - begin;
  UpdateRun memory;
  memory.value = gradients_.values().subspan(begin, size);
  memory.gradient = gradients_.sum().subspan(begin, size);
  if (parameter.compute == DType::kBF16) memory.compute = gradients_.compute_values().subspan(begin, size);
  if (parameter.kind != ParameterKind::kTrained) return memory;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    memory.state[i] = states_[i].span().subspan(run.state + begin - run.begin, size);
  }
  return memory;
}

void Coordinator::apply(std::int64_t step, double norm, double lr) {
  UpdateRule base = optimizer_->rule(step, lr);
  base.l1 = static_cast<float>(config_.l1);
  base.l2 = static_cast<float>(config_.l2);
  const bool clipped = config_.clip > 0.0 && norm > config_.clip;
  base.gradient_scale = clipped ? static_cast<float>(config_.clip / norm) : 1.0F;
  // Backwards: the sums that were made last are still in a cache.
  for (auto at = runs_.all().rbegin(); at != runs_.all().rend(); ++at) {
    const OwnedRun& run = *at;
    const UpdateRule rule = rule_for(parameters_[run.parameter], base);
    if (sums_.empty()) {
      backend_.update(rule, memory_of(run, run.begin, run.end));
    } else {
      apply_with_statistics(run, rule);
    }
  }
}

void Coordinator::apply_with_statistics(const OwnedRun& run, const UpdateRule& rule) {
  const auto first = static_cast<std::size_t>(run.first_block), count = static_cast<std::size_t>(run.block_count);
  backend_.update_parts(rule, memory_of(run, run.begin, run.end), std::span(runs_.parts()).subspan(first, count),
                        std::span(sums_).subspan(first, count));
}

void Coordinator::collect_statistics() {
  backend_.synchronize();  // completes the sums
  std::vector<double> value_squares, change_squares;
  for (const UpdateSums& sums : sums_) {
    value_squares.push_back(sums.value_squares);
    change_squares.push_back(sums.change_squares);
  }
  world_.all_reduce_disjoint(value_squares);
  world_.all_reduce_disjoint(change_squares);
  statistics_.clear();
  for (std::size_t b = 0; b < runs_.block_parameter().size(); ++b) {
    const int parameter = runs_.block_parameter()[b];
    if (parameters_[parameter].kind != ParameterKind::kTrained) continue;
    if (statistics_.empty() || statistics_.back().parameter != parameter)
      statistics_.push_back({.parameter = parameter});
    statistics_.back().gradient_norm += agreed_[b];
    statistics_.back().value_norm += value_squares[b];
    statistics_.back().change_norm += change_squares[b];
  }
  for (ParameterStatistics& s : statistics_) {
    for (double* norm : {&s.gradient_norm, &s.value_norm, &s.change_norm}) *norm = std::sqrt(*norm);
  }
}

void Coordinator::initialise(std::uint64_t seed) {
  fill_with_initial_values(parameters_, runs_, seed, gradients_.values(), backend_);
  loaded();
}

void Coordinator::move(const OwnedRun& run, ConstDeviceSpan target, float share) {
  const DeviceSpan value = gradients_.values().subspan(run.begin, run.end - run.begin);
  if (share == 1.0F) return backend_.convert(target, value);
  const Buffer way(backend_, value.size, DType::kF32);
  const auto subtract = [this](ConstDeviceSpan y, float times, DeviceSpan x) {
    backend_.update({.kind = UpdateKind::kSgd, .lr = times}, {.value = x, .compute = {}, .gradient = y, .state = {}});
  };
  backend_.convert(target, way.span());
  subtract(value, 1.0F, way.span());
  subtract(way.span(), -share, value);
}

void Coordinator::refresh_compute_values() {
  for (const OwnedRun& run : runs_) {
    if (parameters_[run.parameter].compute != DType::kBF16) continue;
    const std::int64_t size = run.end - run.begin;
    backend_.convert(gradients_.values().subspan(run.begin, size),
                     gradients_.compute_values().subspan(run.begin, size));
  }
}

void Coordinator::loaded() {
  refresh_compute_values();
  gradients_.publish();
}

std::vector<NamedPiece> Coordinator::pieces() const {
  std::vector<NamedPiece> pieces;
  const std::vector<std::string> states = optimizer_->states();
  for (const OwnedRun& run : runs_) {
    const Parameter& parameter = parameters_[run.parameter];
    const UpdateRun memory = memory_of(run, run.begin, run.end);
    append_pieces(names_.values, parameters_, run.begin, memory.value, pieces);
    if (parameter.kind != ParameterKind::kTrained) continue;
    for (std::size_t i = 0; i < states.size(); ++i) {
      append_pieces(names_.states + states[i] + "/", parameters_, run.begin, memory.state[i], pieces);
    }
  }
  for (const CodingError& error : gradients_.coding_errors()) {
    append_trained_pieces("error/" + std::to_string(error.group) + "/", parameters_, error.begin, error.values, pieces);
  }
  return pieces;
}

}  // namespace ballast
