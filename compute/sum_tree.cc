#include "compute/sum_tree.h"

#include <algorithm>

#include "compute/error.h"

namespace ballast {

std::size_t levels_of_sum_tree(std::size_t addends, std::span<const int> tree) {
  std::size_t depth = 0;
  std::size_t most = 0;
  for (const int step : tree) {
    require(step >= -1 && step < static_cast<int>(addends), "ordered_sum: the tree names an addend that is not there");
    require(step >= 0 || depth >= 2, "ordered_sum: the tree adds before there are two addends");
    depth = step >= 0 ? depth + 1 : depth - 1;
    most = std::max(most, depth);
  }
  require(depth == 1, "ordered_sum: the tree does not end in one sum");
  return most;
}

}  // namespace ballast
