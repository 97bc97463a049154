// The last batch of an epoch may leave shards without samples: it takes no more memory than a full one.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "runtime/training_parts.h"
#include "tests/support/mpi_world.h"

namespace ballast {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

void forget_peak() { std::ofstream("/proc/self/clear_refs") << "5"; }

std::int64_t peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word != "VmHWM:") continue;
    std::int64_t kib = 0;
    status >> kib;
    return kib << 10;
  }
  return 0;
}

/// 17 samples: 8, 8 and 1 in the three steps of an epoch.
JobConfig job_with_short_batches() {
  JobConfig config;
  config.model = {.name = "mlp", .features = 1024, .hidden = {1024, 1024, 1024}};
  config.data = {.format = "synthetic", .fraction = 0.0, .samples = 17};
  config.batch = {.size = 8, .shards = 4};
  config.comm.sharding = "gradients";
  config.comm.bucket_mib = 0.125;
  config.compute.threads = 1;
  return config;
}

TEST(ShortBatch, TakesNoMoreMemoryThanAFullOne) {
  const JobConfig config = job_with_short_batches();
  Communicator& world = mpi_world();
  const JobLayout layout = layout_of(config, std::nullopt, world.size(), 1);
  TrainingParts parts(config, layout, world, make_backend({.name = "cpu", .threads = 1}));
  parts.initialise(1);
  StepTotals totals(layout.shards);
  const auto peak_of_step = [&](std::int64_t step) {
    world.barrier();
    forget_peak();
    totals.clear();
    parts.replica().worker.compute_gradients(step, totals);
    static_cast<void>(parts.replica().coordinator.update(step + 1, totals, 0, false));
    return peak_bytes();
  };
  peak_of_step(0);  // what the first step takes for good is not of interest
  const std::int64_t full = peak_of_step(1), with_empty_shards = peak_of_step(2);
  ASSERT_EQ(totals.rows[0], 1.0);
  ASSERT_EQ(totals.rows[3], 0.0);
  EXPECT_GT(full, 0);
  EXPECT_LE(with_empty_shards, full + 3 * kMiB) << "a gradient has 12 MiB, the buckets that may wait 2";
}

}  // namespace
}  // namespace ballast
