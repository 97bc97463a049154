// Implements make_sgd: stochastic gradient descent, plain, with momentum (Polyak 1964), or with Nesterov's (Sutskever
// et al. 2013).
#include "runtime/optimizers/optimizers.h"

namespace ballast {
namespace {

class Sgd final : public Optimizer {
 public:
  explicit Sgd(const OptimizerSection& config)
      : kind_(config.momentum == 0.0 ? UpdateKind::kSgd
              : config.nesterov      ? UpdateKind::kNesterov
                                     : UpdateKind::kMomentum),
        momentum_(static_cast<float>(config.momentum)),
        weight_decay_(static_cast<float>(config.weight_decay)) {}

  [[nodiscard]] std::vector<std::string> states() const override {
    return kind_ == UpdateKind::kSgd ? std::vector<std::string>{} : std::vector<std::string>{"m"};
  }

  [[nodiscard]] UpdateRule rule(std::int64_t /*step*/, double lr) const override {
    return {.kind = kind_, .lr = static_cast<float>(lr), .weight_decay = weight_decay_, .beta1 = momentum_};
  }

 private:
  UpdateKind kind_;
  float momentum_, weight_decay_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(const OptimizerSection& config) {
  if (config.nesterov && config.momentum == 0.0) {
    throw ConfigError("optimizer.nesterov = true needs optimizer.momentum above 0, for example 0.9");
  }
  return std::make_unique<Sgd>(config);
}

}  // namespace ballast
