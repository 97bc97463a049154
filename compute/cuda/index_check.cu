// The search for an index out of range: one block of 32 warps reads every index once (4 bytes each), and the first row
// among those that its threads found is kept.
#include <cstring>

#include "compute/cuda/index_check.h"
#include "compute/cuda/vectors.h"

namespace ballast::cuda {

namespace {

constexpr int kThreads = 1024;

struct Found {
  std::int32_t any, index;
};

struct FirstRows {
  std::int64_t of_warp[kThreads / kWarp];
};

/// Cost of an index: 4 bytes, 0 FLOPs.
__global__ void __launch_bounds__(kThreads)
    find_kernel(std::int64_t rows, const std::int32_t* indices, std::int64_t least, std::int64_t limit, Found* found) {
  auto& shared = block_shared<FirstRows>();
  std::int64_t first = rows;
  for (std::int64_t row = threadIdx.x; row < rows; row += kThreads) {
    if (indices[row] < least || indices[row] >= limit) first = min(first, row);
  }
  for (int apart = kWarp / 2; apart > 0; apart /= 2) first = min(first, __shfl_xor_sync(kFullWarp, first, apart));
  if (threadIdx.x % kWarp == 0) shared.of_warp[threadIdx.x / kWarp] = first;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (const std::int64_t of_warp : shared.of_warp) first = min(first, of_warp);
  *found = first < rows ? Found{1, indices[first]} : Found{0, 0};
}

}  // namespace

void check_indices(Queue& queue, ConstDeviceSpan indices, std::int32_t least, std::int64_t limit,
                   std::function<std::string(std::int32_t)> text) {
  auto* const found = static_cast<Found*>(queue.scratch(sizeof(Found)));
  launch(1, kThreads, 0, queue.stream(), find_kernel, indices.size, numbers<std::int32_t>(indices),
         static_cast<std::int64_t>(least), limit, found);
  queue.return_later(found, sizeof(Found), [text = std::move(text)](const std::byte* bytes) {
    Found result;
    std::memcpy(&result, bytes, sizeof result);
    if (result.any != 0) throw DataError(text(result.index));
  });
}

}  // namespace ballast::cuda
