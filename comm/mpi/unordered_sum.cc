#include "comm/unordered_sum.h"

#include <mpi.h>

#include <algorithm>

#include "comm/mpi/check.h"

namespace ballast {

void unordered_sum(std::span<float> values) {
  constexpr std::size_t kPiece = std::size_t{1} << 30;  // elements: MPI counts in int
  for (std::size_t first = 0; first < values.size(); first += kPiece) {
    const auto count = static_cast<int>(std::min(kPiece, values.size() - first));
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, values.data() + first, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD));
  }
}

}  // namespace ballast
