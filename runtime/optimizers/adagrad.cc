// Implements make_adagrad (Duchi, Hazan and Singer 2011): steps shrink with the sum of all squared gradients so far.
#include "runtime/optimizers/optimizers.h"

namespace ballast {
namespace {

class AdaGrad final : public Optimizer {
 public:
  explicit AdaGrad(const OptimizerSection& config) : config_(config) {}

  [[nodiscard]] std::vector<std::string> states() const override { return {"v"}; }

  [[nodiscard]] UpdateRule rule(std::int64_t /*step*/, double lr) const override {
    return {.kind = UpdateKind::kAdaGrad,
            .lr = static_cast<float>(lr),
            .weight_decay = static_cast<float>(config_.weight_decay),
            .epsilon = static_cast<float>(config_.epsilon)};
  }

 private:
  OptimizerSection config_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adagrad(const OptimizerSection& config) { return std::make_unique<AdaGrad>(config); }

}  // namespace ballast
