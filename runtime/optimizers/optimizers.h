// Defines: make_sgd, make_adagrad, make_rmsprop, make_adam, make_adamw, adam_rule: each in the file of its name. A new
// optimizer is one such file, one line here, and one in the table of runtime/optimizer.cc.
#pragma once

#include <memory>

#include "runtime/optimizer.h"

namespace ballast {

[[nodiscard]] std::unique_ptr<Optimizer> make_sgd(const OptimizerSection& config);
[[nodiscard]] std::unique_ptr<Optimizer> make_adagrad(const OptimizerSection& config);
[[nodiscard]] std::unique_ptr<Optimizer> make_rmsprop(const OptimizerSection& config);
[[nodiscard]] std::unique_ptr<Optimizer> make_adam(const OptimizerSection& config);
[[nodiscard]] std::unique_ptr<Optimizer> make_adamw(const OptimizerSection& config);

/// Adam's rule at `step` with the bias corrections, without weight decay: what Adam and AdamW share.
[[nodiscard]] UpdateRule adam_rule(const OptimizerSection& config, std::int64_t step, double lr);

}  // namespace ballast
