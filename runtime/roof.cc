#include "runtime/roof.h"

#include <algorithm>
#include <numeric>

#include "runtime/timing.h"

namespace ballast {
namespace {

constexpr double kLeastSecondsForMemory = 0.2;
constexpr double kLeastSecondsOnDevice = 1e-3;
constexpr std::int64_t kMostRows = 4096;
constexpr std::int64_t kArrayElements = 16 << 20;

double mean_over_workers(Communicator& world, double mine) {
  const std::vector<double> all = gather_numbers(world, mine);
  return std::accumulate(all.begin(), all.end(), 0.0) / static_cast<double>(all.size());
}

std::vector<double> product_times(Backend& backend, Communicator& world, DType compute, const MatmulShape& shape,
                                  double seconds) {
  const Buffer a = filled(backend, shape.m * shape.k, compute);
  const Buffer b = filled(backend, shape.n * shape.k, compute);
  const Buffer c(backend, shape.m * shape.n, compute);
  return repeat_for(seconds, backend, world, [&] { backend.matmul(shape, a.span(), b.span(), {}, c.span()); });
}

/// On a device a small product measures how fast calls are made: all edges are doubled until one takes a while.
MatmulShape large_product(Backend& backend, Communicator& world, DType compute) {
  MatmulShape shape{.m = 512, .n = 1024, .k = 1024, .transpose_b = true};
  while (!backend.host_addressable() && shape.m < kMostRows) {
    const std::vector<double> all = gather_numbers(world, product_times(backend, world, compute, shape, 0.0).front());
    if (*std::max_element(all.begin(), all.end()) > kLeastSecondsOnDevice) break;
    for (std::int64_t* edge : {&shape.m, &shape.n, &shape.k}) *edge *= 2;
  }
  return shape;
}

double best_matmul(Backend& backend, Communicator& world, DType compute, double seconds) {
  const MatmulShape shape = large_product(backend, world, compute);
  const std::vector<double> times = product_times(backend, world, compute, shape, seconds);
  const auto operations = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n * shape.k);
  return operations / *std::min_element(times.begin(), times.end());
}

double best_memory_pass(Backend& backend, Communicator& world, double seconds) {
  const Buffer a = filled(backend, kArrayElements, DType::kF32);
  const Buffer b = filled(backend, kArrayElements, DType::kF32);
  const std::vector<double> times =
      repeat_for(seconds, backend, world, [&] { backend.add(a.span(), b.span(), a.span()); });
  // In place, as reduction and update work: another output would first be read into the cache, which nobody counts.
  return 3.0 * static_cast<double>(a.span().bytes()) / *std::min_element(times.begin(), times.end());
}

}  // namespace

Roof measure_roof(Backend& backend, Communicator& world, DType compute, double seconds) {
  const bool memory = seconds >= kLeastSecondsForMemory;
  Roof roof;
  roof.matmul_flops = mean_over_workers(world, best_matmul(backend, world, compute, memory ? seconds / 2 : seconds));
  if (memory) roof.memory_bytes = mean_over_workers(world, best_memory_pass(backend, world, seconds / 2));
  return roof;
}

}  // namespace ballast
