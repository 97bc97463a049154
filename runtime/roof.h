// Defines: Roof, measure_roof: what this machine gives one worker while all workers of the job ask for it at once.
#pragma once

#include "comm/communicator.h"
#include "compute/backend.h"

namespace ballast {

/// Of one worker, the mean over workers: times the number of workers it is what the job has.
struct Roof {
  double matmul_flops = 0.0;  ///< floating-point operations a second in a large matrix product, 2 m n k of each
  double memory_bytes = 0.0;  ///< bytes a second of a = a + b, 12 per element: all that moves; 0: not measured
};

/// Collective; equal on every worker. Takes about `seconds` and what one unmeasured call of each kind needs (some 10
/// ms): half of the time for the best of several products c_MN = a_MK b_NK^T with M, N, K = 512, 1024, 1024 in
/// `compute` (f32 or bf16), and of larger ones on a device that is done with these in less than a millisecond, half for
/// the best of several passes over two arrays of 64 MiB each, with all threads of the backend. Below 0.2 seconds all of
/// it goes to the products, memory_bytes is 0, and no more than 10 MiB are used: touching arrays beyond the caches for
/// the first time would take longer than that.
[[nodiscard]] Roof measure_roof(Backend& backend, Communicator& world, DType compute, double seconds);

}  // namespace ballast
