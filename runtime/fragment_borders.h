// Defines: fragment_borders: where [outer] cuts the weights into fragments.
#pragma once

#include <cstdint>
#include <vector>

#include "models/parameters.h"

namespace ballast {

/// Parameters at which up to `fragments` fragments of about equal size begin, and the number of all parameters behind:
/// fragment i is [borders[i], borders[i + 1]). None is empty.
[[nodiscard]] std::vector<int> fragment_borders(const ParameterTable& parameters, std::int64_t fragments);

}  // namespace ballast
