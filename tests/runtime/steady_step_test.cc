// A steady step takes no memory: this program counts what `new` and aligned_alloc, from which our buffers come, are
// asked for. Libraries may keep their own counsel with malloc: oneDNN's f32 product packs into memory of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "runtime/training_parts.h"
#include "tests/support/thread_workers.h"

namespace {

// Library calls take small lists of arguments; memory that a page or a cache notices begins here.
constexpr std::size_t kLarge = 1024;
std::atomic<std::size_t> calls = 0, large = 0, largest = 0;

void count(std::size_t bytes) {
  ++calls;
  if (bytes < kLarge) return;
  ++large;
  if (bytes > largest) largest = bytes;
}

}  // namespace

void* operator new(std::size_t bytes) {
  count(bytes);
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new[](std::size_t bytes) { return operator new(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count(bytes);
  void* memory = nullptr;
  return posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}

namespace ballast {
namespace {

/// Two workers, two threads each: all kinds of tasks.
void expect_steady(const ModelConfig& model, const std::string& precision, const char* sharding = "optimizer") {
  JobConfig config;
  config.model = model;
  config.data.format = "synthetic";
  config.data.samples = 64;
  config.batch.size = 8;
  config.job.steps = 100;
  config.optimizer.clip = 1.0;
  config.precision.compute = precision;
  config.comm.sharding = sharding;
  if (config.comm.sharding == "values") {
    config.comm.bucket_mib = 0.05;
    config.comm.share_memory = false;
  }
  run_workers(2, [&](Communicator& world) {
    const JobLayout layout = layout_of(config, std::nullopt, world.size(), 2);
    TrainingParts parts(config, layout, world, make_backend({.name = "cpu", .threads = 2}));
    parts.initialise(1);
    StepTotals totals(layout.shards);
    std::int64_t step = 0;
    const auto run = [&](int steps) {
      for (int i = 0; i < steps; ++i) {
        totals.clear();
        parts.replica().worker.compute_gradients(step++, totals);
        static_cast<void>(parts.replica().coordinator.update(step, totals, 0, false));
      }
      world.barrier();
    };
    // Which thread takes which task varies, so each may meet its largest task late: some step must be the last that
    // takes memory.
    std::size_t found = 1;
    for (int window = 0; window < 30 && found > 0; ++window) {
      world.barrier();
      if (world.rank() == 0) calls = large = largest = 0;
      world.barrier();
      run(3);
      found = large;
      world.barrier();
    }
    EXPECT_EQ(found, 0U) << "the largest asked for " << largest << " bytes";
    if (world.rank() == 0) {
      std::printf("%s %s %s: %zu small allocations in a step of two workers\n", config.model.name.c_str(),
                  precision.c_str(), sharding, calls / 3);
    }
    world.barrier();
  });
}

TEST(SteadyStep, TakesNoMemoryWhereValuesComeAndGo) {
  expect_steady({.name = "gpt", .layers = 2, .heads = 4, .width = 128, .context = 64, .vocabulary = 512}, "bf16",
                "values");
}

TEST(SteadyStep, TakesNoMemory) {
  for (const char* precision : {"f32", "bf16"}) {
    expect_steady({.name = "mlp", .features = 64, .hidden = {256, 128}}, precision);
    expect_steady({.name = "convnet", .image_rows = 16, .image_columns = 16, .channels = {8, 16, 32}, .depth = 1},
                  precision);
    expect_steady(
        {.name = "gpt", .dropout = 0.1F, .layers = 2, .heads = 4, .width = 128, .context = 64, .vocabulary = 512},
        precision);
  }
}

}  // namespace
}  // namespace ballast
