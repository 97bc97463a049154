// Implements make_adam and adam_rule (Kingma and Ba 2015).
#include <cmath>

#include "runtime/optimizers/optimizers.h"

namespace ballast {
namespace {

class Adam final : public Optimizer {
 public:
  explicit Adam(const OptimizerSection& config) : config_(config) {}

  [[nodiscard]] std::vector<std::string> states() const override { return {"m", "v"}; }

  [[nodiscard]] UpdateRule rule(std::int64_t step, double lr) const override { return adam_rule(config_, step, lr); }

 private:
  OptimizerSection config_;
};

}  // namespace

UpdateRule adam_rule(const OptimizerSection& config, std::int64_t step, double lr) {
  require(step >= 1, "steps count from 1");
  const auto t = static_cast<double>(step);
  return {.kind = UpdateKind::kAdam,
          .lr = static_cast<float>(lr),
          .beta1 = static_cast<float>(config.betas[0]),
          .beta2 = static_cast<float>(config.betas[1]),
          .epsilon = static_cast<float>(config.epsilon),
          .correction1 = static_cast<float>(1.0 / (1.0 - std::pow(config.betas[0], t))),
          .correction2 = static_cast<float>(1.0 / (1.0 - std::pow(config.betas[1], t)))};
}

std::unique_ptr<Optimizer> make_adam(const OptimizerSection& config) {
  if (config.weight_decay != 0.0) {
    throw ConfigError(
        "optimizer.weight_decay has no place in \"adam\": use optimizer.name = \"adamw\" (decoupled decay), or "
        "optimizer.l2");
  }
  return std::make_unique<Adam>(config);
}

}  // namespace ballast
