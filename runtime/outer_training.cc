#include "runtime/outer_training.h"

#include <algorithm>
#include <string>
#include <utility>

#include "compute/error.h"
#include "runtime/fragment_borders.h"

namespace ballast {
namespace {

std::string sent_key(std::size_t fragment) { return "outer.sent." + std::to_string(fragment); }

}  // namespace

OuterTraining::OuterTraining(const ParameterTable& parameters, const JobConfig& config, const GroupLayout& groups,
                             std::int64_t bucket_bytes, std::vector<std::unique_ptr<Replica>>& replicas,
                             Communicator& world, Backend& backend)
    : config_(config.outer), groups_(groups), replicas_(replicas), world_(world), backend_(backend) {
  if (!backend.host_addressable()) {
    throw ConfigError(
        "[outer] needs memory that the host can address: set compute.backend = \"cpu\", or outer.every = 0");
  }
  const std::vector<int> borders = fragment_borders(parameters, config_.fragments);
  for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
    fragments_.push_back(std::make_unique<OuterFragment>(parameters, borders[i], borders[i + 1], config, groups,
                                                         bucket_bytes, world, backend));
  }
  exchanges_.resize(fragments_.size());
}

void OuterTraining::initialise(std::uint64_t seed) {
  for (const auto& fragment : fragments_) fragment->initialise(seed);
}

void OuterTraining::loaded(const TrainingState& state) {
  for (std::size_t i = 0; i < fragments_.size(); ++i) {
    fragments_[i]->loaded();
    const auto sent = state.numbers.find(sent_key(i));
    if (sent == state.numbers.end()) throw DataError("the checkpoint's state lacks " + sent_key(i));
    exchanges_[i] = {static_cast<std::int64_t>(sent->second), sent->second > 0.0};
  }
}

void OuterTraining::write_to(TrainingState& state) const {
  for (std::size_t i = 0; i < exchanges_.size(); ++i) {
    state.numbers[sent_key(i)] = static_cast<double>(exchanges_[i].sent);
  }
}

std::vector<NamedPiece> OuterTraining::pieces() const {
  std::vector<NamedPiece> pieces;
  for (const auto& fragment : fragments_) {
    const std::vector<NamedPiece> some = fragment->pieces();
    pieces.insert(pieces.end(), some.begin(), some.end());
  }
  return pieces;
}

/// Fragment i of F is exchanged behind steps i every / F, i every / F + every, ...
bool OuterTraining::due(std::size_t fragment, std::int64_t step) const {
  const auto count = static_cast<std::int64_t>(fragments_.size());
  return (step - static_cast<std::int64_t>(fragment) * config_.every / count) % config_.every == 0;
}

void OuterTraining::step(std::int64_t step, bool last) {
  bool taken = false;
  for (std::size_t i = 0; i < fragments_.size(); ++i) {
    const Exchange& exchange = exchanges_[i];
    if (exchange.sent == 0 || last) continue;
    const std::int64_t age = step - exchange.sent;
    if (!exchange.reduced && age >= (config_.delay + 1) / 2) reduce(i);
    if (!exchange.reduced) fragments_[i]->progress();
    if (age < config_.delay) continue;
    take_over(i);
    taken = true;
  }
  if (last) {
    exchange_all();
    taken = true;
  }
  for (std::size_t i = 0; i < fragments_.size() && !last; ++i) {
    if (!due(i, step)) continue;
    send(i, step);
    if (config_.delay > 0) continue;
    take_over(i);
    taken = true;
  }
  if (taken) publish_replicas();
}

void OuterTraining::exchange_all() {
  for (std::size_t i = 0; i < fragments_.size(); ++i) {
    if (exchanges_[i].sent > 0) take_over(i);
  }
  publish_replicas();
  for (std::size_t i = 0; i < fragments_.size(); ++i) send(i, 1);
  for (std::size_t i = 0; i < fragments_.size(); ++i) take_over(i);
}

void OuterTraining::send(std::size_t fragment, std::int64_t step) {
  std::vector<ConstDeviceSpan> copies;
  for (const auto& replica : replicas_) {
    replica->reduction->gather_values();
    copies.emplace_back(replica->reduction->values());
  }
  fragments_[fragment]->send(copies);
  exchanges_[fragment] = {step, false};
}

void OuterTraining::reduce(std::size_t fragment) {
  fragments_[fragment]->reduce();
  exchanges_[fragment].reduced = true;
}

void OuterTraining::settle() {
  for (std::size_t i = 0; i < fragments_.size(); ++i) {
    if (exchanges_[i].sent > 0 && !exchanges_[i].reduced) reduce(i);
  }
}

/// w = w + merge (outer - w) on the parts of the replicas that I coordinate.
void OuterTraining::take_over(std::size_t fragment) {
  if (!exchanges_[fragment].reduced) reduce(fragment);
  exchanges_[fragment] = {};
  OuterFragment& from = *fragments_[fragment];
  from.receive();
  const auto [begin, end] = from.elements();
  for (const auto& replica : replicas_) {
    for (const OwnedRun& run : replica->coordinator.runs()) {
      if (run.begin < begin || end < run.end) continue;
      replica->coordinator.move(run, from.values(run.begin, run.end), static_cast<float>(config_.merge));
    }
  }
}

void OuterTraining::publish_replicas() {
  for (const auto& replica : replicas_) replica->coordinator.loaded();
}

void OuterTraining::lend_values() {
  settle();
  Replica& replica = *replicas_.front();
  for (const auto& fragment : fragments_) fragment->receive();
  for (const OwnedRun& run : replica.coordinator.runs()) {
    const DeviceSpan values = replica.reduction->values().subspan(run.begin, run.end - run.begin);
    lent_.emplace_back(backend_, values.size, DType::kF32);
    backend_.convert(values, lent_.back().span());
    for (const auto& fragment : fragments_) {
      const auto [begin, end] = fragment->elements();
      if (begin <= run.begin && run.end <= end) backend_.convert(fragment->values(run.begin, run.end), values);
    }
  }
  replica.coordinator.loaded();
}

void OuterTraining::give_back() {
  Replica& replica = *replicas_.front();
  std::size_t next = 0;
  for (const OwnedRun& run : replica.coordinator.runs()) {
    backend_.convert(lent_[next++].span(), replica.reduction->values().subspan(run.begin, run.end - run.begin));
  }
  lent_.clear();
  replica.coordinator.loaded();
}

void OuterTraining::meet(StepTotals& totals, std::span<const double> norms, unsigned flags, StepOutcome& outcome) {
  const auto groups = static_cast<std::size_t>(groups_.groups);
  const auto shards = static_cast<std::size_t>(groups_.shards);
  const auto workers = static_cast<std::size_t>(world_.size());
  const ShardRange led = groups_.led[static_cast<std::size_t>(world_.rank())];
  std::vector<double> said(3 * shards + groups + workers, 0.0);
  std::size_t at = 0;
  for (auto* sums : {&totals.loss, &totals.rows, &totals.correct}) {
    for (int s = groups_.first_shard(led.begin); s < groups_.first_shard(led.end); ++s) {
      said[at + static_cast<std::size_t>(s)] = (*sums)[static_cast<std::size_t>(s)];
    }
    at += shards;
  }
  for (int group = led.begin; group < led.end; ++group) {
    said[at + static_cast<std::size_t>(group)] = norms[static_cast<std::size_t>(group - led.begin)];
  }
  said[at + groups + static_cast<std::size_t>(world_.rank())] = flags;
  world_.all_reduce_disjoint(said);
  at = 0;
  for (auto* sums : {&totals.loss, &totals.rows, &totals.correct}) {
    std::copy_n(said.begin() + static_cast<std::ptrdiff_t>(at), shards, sums->begin());
    at += shards;
  }
  outcome.gradient_norm = 0.0;
  for (std::size_t g = 0; g < groups; ++g) outcome.gradient_norm += said[at + g] / static_cast<double>(groups);
  for (std::size_t r = 0; r < workers; ++r) outcome.add_flags(static_cast<unsigned>(said[at + groups + r]));
}

}  // namespace ballast
