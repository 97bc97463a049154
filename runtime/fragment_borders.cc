#include "runtime/fragment_borders.h"

namespace ballast {

std::vector<int> fragment_borders(const ParameterTable& parameters, std::int64_t fragments) {
  std::vector<int> borders{0};
  for (std::int64_t i = 1; i < fragments; ++i) {
    int border = borders.back() + 1;
    while (border < parameters.count() && parameters[border].offset < parameters.flat_size() * i / fragments) ++border;
    if (border < parameters.count()) borders.push_back(border);
  }
  borders.push_back(parameters.count());
  return borders;
}

}  // namespace ballast
