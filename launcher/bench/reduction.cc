#include "launcher/bench/reduction.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "comm/unordered_sum.h"
#include "models/model.h"
#include "runtime/optimizer.h"
#include "runtime/timing.h"

namespace ballast {
namespace {

constexpr double kClip = 1.0;

JobConfig adamw_with_clipping() {
  JobConfig config;
  config.optimizer.name = "adamw";
  config.optimizer.lr = 1e-4;
  config.optimizer.weight_decay = 0.1;
  config.optimizer.clip = kClip;
  return config;
}

class OrderedStep final : public ReductionStep {
 public:
  OrderedStep(const ParameterTable& parameters, DType compute, Communicator& world, Backend& backend)
      : parameters_(parameters),
        backend_(backend),
        numbers_(filled(backend, kFilled, DType::kF32)),
        gradients_(make_split_allreduce(world, backend, parameters.flat_size(), blocks_of(parameters),
                                        compute == DType::kBF16, {.shards = world.size()})),
        coordinator_(parameters_, *gradients_, backend, world, adamw_with_clipping(), kTotalSteps, clock_),
        totals_(world.size()) {
    coordinator_.initialise(1);
  }

  void fill() override {
    gradients_->begin_step();
    const int shard = gradients_->my_shards().begin;
    const DeviceSpan all = gradients_->gradients(shard);
    for (std::int64_t begin = 0; begin < all.size; begin += kFilled) {
      const std::int64_t size = std::min(kFilled, all.size - begin);
      backend_.convert(numbers_.span().subspan(0, size), all.subspan(begin, size));
    }
    gradients_->gradients_ready(0);
    gradients_->shard_done(shard);
  }

  void run() override { (void)coordinator_.update(++step_, totals_, 0U, false); }

 private:
  static constexpr std::int64_t kFilled = 1 << 20;
  static constexpr std::int64_t kTotalSteps = std::int64_t{1} << 40;

  ParameterTable parameters_;
  Backend& backend_;
  Buffer numbers_;
  std::unique_ptr<SplitAllReduce> gradients_;
  PhaseClock clock_;
  Coordinator coordinator_;
  StepTotals totals_;
  std::int64_t step_ = 0;
};

class UnorderedStep final : public ReductionStep {
 public:
  UnorderedStep(std::int64_t elements, Backend& backend)
      : backend_(backend),
        optimizer_(make_optimizer(adamw_with_clipping().optimizer)),
        numbers_(filled(backend, elements, DType::kF32)),
        gradients_(backend, elements, DType::kF32),
        m_(backend, elements, DType::kF32),
        v_(backend, elements, DType::kF32) {
    backend.zero(m_.span());
    backend.zero(v_.span());
  }

  void fill() override { backend_.convert(numbers_.span(), gradients_.span()); }

  void run() override {
    const DeviceSpan sum = gradients_.span();
    sum_over_workers(sum);
    const double norm = std::sqrt(backend_.sum_of_squares(sum));
    UpdateRule rule = optimizer_->rule(++step_, adamw_with_clipping().optimizer.lr);
    rule.gradient_scale = norm > kClip ? static_cast<float>(kClip / norm) : 1.0F;
    (void)backend_.update(rule, {numbers_.span(), {}, sum, {m_.span(), v_.span()}});
    backend_.synchronize();
  }

 private:
  /// MPI adds up in memory of the host: a device's gradients go there and come back.
  void sum_over_workers(DeviceSpan sum) {
    const auto size = static_cast<std::size_t>(sum.size);
    if (backend_.host_addressable()) {
      backend_.synchronize();
      return unordered_sum(std::span(static_cast<float*>(sum.data), size));
    }
    host_.resize(size);
    backend_.download(sum, std::as_writable_bytes(std::span(host_)));
    backend_.synchronize();
    unordered_sum(host_);
    backend_.upload(std::as_bytes(std::span(host_)), sum);
  }

  Backend& backend_;
  std::unique_ptr<Optimizer> optimizer_;
  Buffer numbers_;  // the values, and where the gradients of each step come from
  Buffer gradients_, m_, v_;
  std::vector<float> host_;
  std::int64_t step_ = 0;
};

}  // namespace

ParameterTable flat_parameters(std::int64_t elements) {
  ParameterTable table;
  table.add("flat", {elements}, ParameterKind::kTrained, {}, DType::kF32);
  return table;
}

ParameterTable gpt2_parameters() {
  ModelConfig config;
  config.name = "gpt";
  config.layers = config.heads = 12;
  config.width = 768;
  config.context = 1024;
  config.vocabulary = 50257;
  return build_model(config, DType::kF32, 1).parameters();
}

std::unique_ptr<ReductionStep> ordered_step(const ParameterTable& parameters, DType compute, Communicator& world,
                                            Backend& backend) {
  return std::make_unique<OrderedStep>(parameters, compute, world, backend);
}

std::unique_ptr<ReductionStep> unordered_step(std::int64_t elements, Backend& backend) {
  return std::make_unique<UnorderedStep>(elements, backend);
}

}  // namespace ballast
