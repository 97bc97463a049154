#include "compute/cpu/parts.h"

#include <vector>

#include "compute/cpu/kernels.h"

namespace ballast {

void add_parts(ThreadPool& pool, ConstDeviceSpan parts, bool accumulate, DeviceSpan total) {
  std::vector<ConstDeviceSpan> addends;
  if (accumulate) addends.push_back(total);
  for (std::int64_t begin = 0; begin < parts.size; begin += total.size) {
    addends.push_back(parts.subspan(begin, total.size));
  }
  std::vector<int> tree = {0};
  for (std::size_t addend = 1; addend < addends.size(); ++addend) {
    tree.push_back(static_cast<int>(addend));
    tree.push_back(-1);
  }
  ordered_sum(pool, addends, tree, total);
}

}  // namespace ballast
