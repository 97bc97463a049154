// Tests runtime/roof.h and runtime/timing.h.
#include "runtime/roof.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "compute/backend.h"
#include "runtime/timing.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

std::vector<Roof> roofs_of(int workers, DType compute, double seconds) {
  std::vector<Roof> roofs(static_cast<std::size_t>(workers));
  run_workers(workers, [&](Communicator& world) {
    const auto backend = make_backend({.name = "cpu", .threads = 1});
    roofs[static_cast<std::size_t>(world.rank())] = measure_roof(*backend, world, compute, seconds);
  });
  return roofs;
}

TEST(Roof, IsEqualOnEveryWorker) {
  const std::vector<Roof> roofs = roofs_of(2, DType::kF32, 0.2);
  EXPECT_GT(roofs[0].matmul_flops, 1e8);
  EXPECT_GT(roofs[0].memory_bytes, 1e7);
  EXPECT_EQ(roofs[0].matmul_flops, roofs[1].matmul_flops);
  EXPECT_EQ(roofs[0].memory_bytes, roofs[1].memory_bytes);
}

TEST(Roof, LeavesMemoryOutWhereTimeIsShort) {
  const std::vector<Roof> roofs = roofs_of(1, DType::kBF16, 0.05);
  EXPECT_GT(roofs[0].matmul_flops, 1e8);
  EXPECT_EQ(roofs[0].memory_bytes, 0.0);
}

TEST(Timing, CallsOnceBeforeTheClockAndOnceAtLeast) {
  run_workers(1, [](Communicator& world) {
    const auto backend = make_backend({.name = "cpu", .threads = 1});
    int calls = 0;
    EXPECT_EQ(repeat_for(0.0, *backend, world, [&] { ++calls; }).size(), 1U);
    EXPECT_EQ(calls, 2);
  });
}

TEST(Timing, GathersByRank) {
  run_workers(3, [](Communicator& world) {
    EXPECT_EQ(gather_numbers(world, 0.5 + world.rank()), (std::vector<double>{0.5, 1.5, 2.5}));
  });
}

TEST(Timing, FillsLongBuffersToTheEnd) {
  const auto backend = make_backend({.name = "cpu", .threads = 2});
  const std::int64_t size = 200000;
  const Buffer numbers = filled(*backend, size, DType::kF32);
  std::vector<float> host(static_cast<std::size_t>(size));
  backend->download(numbers.span(), std::as_writable_bytes(std::span(host)));
  for (const float x : host) {
    ASSERT_NE(x, 0.0F);
    ASSERT_LE(std::abs(x), 1.0F);
  }
}

}  // namespace
}  // namespace ballast
