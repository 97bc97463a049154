#include "models/operation.h"

namespace ballast {

ConstDeviceSpan Operation::logits(const Frame&, std::int64_t) const {
  throw Error(std::string(kind()) + " is no loss: it has no logits");
}

}  // namespace ballast
