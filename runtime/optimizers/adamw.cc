// Implements make_adamw (Loshchilov and Hutter 2019): Adam, with the decay taken from the weights and not through the
// gradient.
#include "runtime/optimizers/optimizers.h"

namespace ballast {
namespace {

class AdamW final : public Optimizer {
 public:
  explicit AdamW(const OptimizerSection& config) : config_(config) {}

  [[nodiscard]] std::vector<std::string> states() const override { return {"m", "v"}; }

  [[nodiscard]] UpdateRule rule(std::int64_t step, double lr) const override {
    UpdateRule rule = adam_rule(config_, step, lr);
    rule.weight_decay = static_cast<float>(config_.weight_decay);
    return rule;
  }

 private:
  OptimizerSection config_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const OptimizerSection& config) { return std::make_unique<AdamW>(config); }

}  // namespace ballast
