#include "runtime/outer_fragment.h"

#include <utility>

namespace ballast {
namespace {

ParameterTable part_of(const ParameterTable& all, int first, int last) {
  ParameterTable part;
  for (int p = first; p < last; ++p) {
    part.add(all[p].name, all[p].shape, all[p].kind, all[p].initializer, DType::kF32);
  }
  return part;
}

SplitAllReduceOptions options_of(const JobConfig& config, const GroupLayout& groups, std::int64_t bucket_bytes) {
  const GradientCoding coding = coding_of(config.comm);
  return {.shards = groups.groups,
          .held = groups.led,
          .coding = coding,
          .publish_coding = coding,
          .coordinators = static_cast<int>(config.comm.coordinators),
          .bucket_bytes = bucket_bytes,
          .share_memory = config.comm.share_memory,
          .timeout_seconds = config.watch.timeout};
}

}  // namespace

OuterFragment::OuterFragment(const ParameterTable& all, int first, int last, const JobConfig& config,
                             const GroupLayout& groups, std::int64_t bucket_bytes, Communicator& world,
                             Backend& backend)
    : config_(config.outer),
      groups_(groups.groups),
      backend_(backend),
      parameters_(part_of(all, first, last)),
      elements_{all[first].offset, all[first].offset + parameters_.flat_size()},
      exchange_(make_split_allreduce(world, backend, parameters_.flat_size(), blocks_of(parameters_), /*bf16=*/false,
                                     options_of(config, groups, bucket_bytes))),
      runs_(parameters_, exchange_->blocks(), exchange_->my_slices()) {
  if (config_.momentum == 0.0 || runs_.state_elements() == 0) return;
  momentum_ = Buffer(backend, runs_.state_elements(), DType::kF32);
  backend.zero(momentum_.span());
}

DeviceSpan OuterFragment::values(std::int64_t begin, std::int64_t end) const {
  return exchange_->values().subspan(begin - elements_.begin, end - begin);
}

void OuterFragment::initialise(std::uint64_t seed) {
  fill_with_initial_values(parameters_, runs_, seed, exchange_->values(), backend_);
  loaded();
}

void OuterFragment::loaded() {
  exchange_->publish();
  receive();
}

std::vector<NamedPiece> OuterFragment::pieces() const {
  std::vector<NamedPiece> pieces;
  for (const OwnedRun& run : runs_) {
    const std::int64_t size = run.end - run.begin;
    append_pieces("", parameters_, run.begin, exchange_->values().subspan(run.begin, size), pieces);
    if (momentum_.span().empty() || parameters_[run.parameter].kind != ParameterKind::kTrained) continue;
    append_pieces("outer/momentum/", parameters_, run.begin, momentum_.span().subspan(run.state, size), pieces);
  }
  for (const CodingError& error : exchange_->coding_errors()) {
    append_trained_pieces("error/" + std::to_string(error.group) + "/", parameters_, error.begin, error.values, pieces);
  }
  for (const CodingError& error : exchange_->publish_errors()) {
    append_trained_pieces("outer/error/", parameters_, error.begin, error.values, pieces);
  }
  return pieces;
}

void OuterFragment::send(const std::vector<ConstDeviceSpan>& copies) {
  exchange_->begin_step();
  const ShardRange led = exchange_->my_shards();
  for (int group = led.begin; group < led.end; ++group) {
    const DeviceSpan difference = exchange_->gradients(group);
    const ConstDeviceSpan copy =
        copies[static_cast<std::size_t>(group - led.begin)].subspan(elements_.begin, elements_.end - elements_.begin);
    backend_.convert(exchange_->values(), difference);
    backend_.update({.kind = UpdateKind::kSgd, .lr = 1.0F},
                    {.value = difference, .compute = {}, .gradient = copy, .state = {}});
    exchange_->gradients_ready(0);
    exchange_->shard_done(group);
  }
  progress();
}

UpdateRule OuterFragment::rule_for(const Parameter& parameter) const {
  UpdateRule rule{.lr = static_cast<float>(config_.lr),
                  .gradient_scale = 1.0F / static_cast<float>(groups_),
                  .beta1 = static_cast<float>(config_.momentum)};
  if (parameter.kind == ParameterKind::kStatistic) {
    rule.lr = 1.0F;  // the mean over the groups
  } else if (config_.momentum > 0.0) {
    rule.kind = config_.nesterov ? UpdateKind::kNesterov : UpdateKind::kMomentum;
  }
  return rule;
}

void OuterFragment::reduce() {
  exchange_->reduce();
  for (const OwnedRun& run : runs_) {
    const Parameter& parameter = parameters_[run.parameter];
    const std::int64_t size = run.end - run.begin;
    UpdateRun memory{.value = exchange_->values().subspan(run.begin, size),
                     .compute = {},
                     .gradient = exchange_->sum().subspan(run.begin, size),
                     .state = {}};
    const UpdateRule rule = rule_for(parameter);
    if (rule.kind != UpdateKind::kSgd) memory.state[0] = momentum_.span().subspan(run.state, size);
    backend_.update(rule, memory);
  }
  exchange_->publish();
}

void OuterFragment::receive() {
  const ElementRange all{0, parameters_.flat_size()};
  exchange_->use_values({&all, 1}, {});
  exchange_->use_values({}, {});
}

}  // namespace ballast
