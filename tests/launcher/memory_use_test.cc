// What a job really allocates: this program counts what is asked for with an alignment while the parts of a training
// are made. That is the backend's memory and what the workers of a node share. Workers are threads, and each counts its
// own.
#include "launcher/plan/memory_use.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "launcher/plan/job_cut.h"
#include "runtime/training_parts.h"
#include "tests/support/thread_workers.h"

namespace {

thread_local std::int64_t allocated = 0;

void* aligned(std::size_t alignment, std::size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes) != 0) throw std::bad_alloc();
  allocated += static_cast<std::int64_t>(bytes);
  return memory;
}

}  // namespace

void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return aligned(static_cast<std::size_t>(alignment), bytes);
}
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) { return aligned(alignment, bytes); }

namespace ballast {
namespace {

constexpr int kShards = 8;

/// 88 thousand weights in two buckets of 16 layers each, which workers share evenly. No buffer is so large that its
/// size is rounded up to huge pages.
JobConfig job(const std::string& compression, std::int64_t groups) {
  JobConfig config;
  config.model.features = 52;
  config.model.hidden = std::vector<std::int64_t>(31, 52);
  config.model.classes = 52;
  config.batch.size = 4 * kShards;
  config.batch.shards = kShards;
  config.job.steps = 10;
  config.comm.bucket_mib = 0.168;
  config.comm.compression = compression;
  config.comm.groups = groups;
  config.checkpoint.copy = false;
  return config;
}

struct Workers {
  int count = 1, per_node = 1;
};

/// By worker.
std::vector<double> allocated_by(const JobConfig& config, const Workers& workers) {
  std::vector<double> bytes(static_cast<std::size_t>(workers.count));
  run_workers(workers.count, workers.per_node, [&](Communicator& world) {
    const JobLayout layout = layout_of(config, std::nullopt, world.size(), 1);
    auto backend = make_backend({.name = "cpu", .threads = 1});
    allocated = 0;
    const TrainingParts parts(config, layout, world, std::move(backend));
    bytes[static_cast<std::size_t>(world.rank())] = static_cast<double>(allocated);
    world.barrier();
  });
  return bytes;
}

/// As far as it is there before anything is evaluated.
JobMemory planned(const JobConfig& config, const Ownership& who) {
  const auto workers = static_cast<int>(who.workers());
  Model model = build_model(config.model, dtype_named(config.precision.compute), cut_batch(config, workers).micro);
  JobMemory memory = count_memory(config, model, who);
  memory.worker.samples = memory.node.samples = 0;  // read when the first step is computed
  if (config.outer.every == 0) return memory;
  const std::int64_t gradient = 4 * model.parameters().flat_size();
  const Copies copies = lay_out_copies(config, kShards, who);
  const std::int64_t lent = gradient / copies.team.owners();
  memory.worker.outer_state -= lent;
  memory.node.outer_state -= lent * who.workers_per_node;
  // Whoever leads no group has a buffer that counts here, though only a part of it is ever touched.
  memory.node.differences += (who.workers_per_node - copies.leaders_on_node) * (gradient - gradient / who.owners());
  return memory;
}

void expect_planned(const JobConfig& config, const Workers& workers) {
  const testing::ScopedTrace trace(__FILE__, __LINE__,
                                   config.comm.compression + " in " + std::to_string(config.comm.groups) + " groups, " +
                                       std::to_string(workers.count) + " workers, " + std::to_string(workers.per_node) +
                                       " on a node, outer " + std::to_string(config.outer.every) + ", fragments " +
                                       std::to_string(config.outer.fragments));
  const Ownership who = sharers(config, workers.count, workers.count / workers.per_node);
  const std::vector<double> found = allocated_by(config, workers);
  const JobMemory said = planned(config, who);
  // The first worker of a node has what its neighbours share with it. It leads a group, as does its node.
  EXPECT_NEAR(static_cast<double>(said.worker.total()) / found.front(), 1.0, 0.05);
  const double node = std::accumulate(found.begin(), found.begin() + who.workers_per_node, 0.0);
  EXPECT_NEAR(static_cast<double>(said.node.total()) / node, 1.0, 0.05);
}

const Workers kWorkers[] = {{1, 1}, {2, 1}, {2, 2}, {4, 1}, {4, 2}, {8, 4}, {8, 1}};
const Workers kUnevenWorkers[] = {{3, 1}, {3, 3}};

TEST(MemoryUse, IsWhatTrainingAllocates) {
  for (const Workers& workers : kWorkers) {
    expect_planned(job("none", 0), workers);
    JobConfig config = job("none", 0);
    config.precision.compute = "bf16";
    expect_planned(config, workers);
  }
}

class MemoryUseWith : public testing::TestWithParam<const char*> {};

TEST_P(MemoryUseWith, CompressionIsWhatTrainingAllocates) {
  for (const Workers& workers : kWorkers) {
    for (const int groups : {0, 4, 2}) {
      if (groups > 0 && workers.count / workers.per_node > groups) continue;
      expect_planned(job(GetParam(), groups), workers);
    }
  }
}

TEST_P(MemoryUseWith, CopiesOfGroupsAreWhatTrainingAllocates) {
  for (const Workers& workers : kWorkers) {
    for (const int groups : {8, 4, 2}) {
      JobConfig config = job(GetParam(), groups);
      config.outer.every = 10;
      expect_planned(config, workers);
      config.outer.fragments = 2;
      config.outer.momentum = 0.0;
      config.precision.compute = "bf16";
      expect_planned(config, workers);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Compressions, MemoryUseWith, testing::Values("none", "bf16", "int8", "int4", "topk", "sign"));

TEST(MemoryUse, WorkersThatShareNothingAreNodes) {
  for (const char* compression : {"none", "int8"}) {
    JobConfig config = job(compression, 4);
    config.comm.share_memory = false;
    expect_planned(config, {4, 4});
    config.outer.every = 10;
    expect_planned(config, {4, 4});
    expect_planned(config, {8, 4});
  }
}

}  // namespace
}  // namespace ballast
