// Implements make_rmsprop (Tieleman and Hinton 2012): steps are divided by a running root mean square of the gradient.
#include "runtime/optimizers/optimizers.h"

namespace ballast {
namespace {

class RmsProp final : public Optimizer {
 public:
  explicit RmsProp(const OptimizerSection& config) : config_(config) {}

  [[nodiscard]] std::vector<std::string> states() const override { return {"v"}; }

  [[nodiscard]] UpdateRule rule(std::int64_t /*step*/, double lr) const override {
    return {.kind = UpdateKind::kRmsProp,
            .lr = static_cast<float>(lr),
            .weight_decay = static_cast<float>(config_.weight_decay),
            .beta2 = static_cast<float>(config_.decay),
            .epsilon = static_cast<float>(config_.epsilon)};
  }

 private:
  OptimizerSection config_;
};

}  // namespace

std::unique_ptr<Optimizer> make_rmsprop(const OptimizerSection& config) { return std::make_unique<RmsProp>(config); }

}  // namespace ballast
