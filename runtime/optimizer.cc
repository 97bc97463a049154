// Implements make_optimizer of runtime/optimizer.h: the table of names.
#include "runtime/optimizer.h"

#include <array>

#include "runtime/optimizers/optimizers.h"

namespace ballast {
namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Optimizer> (*make)(const OptimizerSection&);
};

constexpr std::array kOptimizers = {
    Entry{"sgd", make_sgd},   Entry{"adagrad", make_adagrad}, Entry{"rmsprop", make_rmsprop},
    Entry{"adam", make_adam}, Entry{"adamw", make_adamw},
};

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerSection& config) {
  std::string known;
  for (const Entry& entry : kOptimizers) {
    if (config.name == entry.name) return entry.make(config);
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  throw ConfigError("optimizer.name = \"" + config.name + "\" is unknown; known: " + known);
}

}  // namespace ballast
