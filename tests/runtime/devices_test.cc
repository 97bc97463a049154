#include "runtime/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>

#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

using testing::HasSubstr;

DeviceReport report_of(int devices) {
  DeviceReport report;
  report.devices.resize(static_cast<std::size_t>(devices));
  if (devices == 0) report.problem = "the driver is not there";
  return report;
}

/// What four workers on two nodes choose; `devices` by node.
std::array<DeviceChoice, 4> choices(const std::string& asked, std::array<int, 2> devices) {
  std::array<DeviceChoice, 4> all;
  run_workers(4, 2, [&](Communicator& world) {
    const auto rank = static_cast<std::size_t>(world.rank());
    all[rank] = choose_device(world, asked, report_of(devices[rank / 2]));
  });
  return all;
}

/// The error of every worker, which must be the same.
std::string refusal(const std::string& asked, std::array<int, 2> devices) {
  std::array<std::string, 4> errors;
  run_workers(4, 2, [&](Communicator& world) {
    const auto rank = static_cast<std::size_t>(world.rank());
    try {
      static_cast<void>(choose_device(world, asked, report_of(devices[rank / 2])));
    } catch (const ConfigError& error) {
      errors[rank] = error.what();
    }
  });
  for (const std::string& error : errors) EXPECT_EQ(error, errors[0]);
  return errors[0];
}

TEST(Devices, EachWorkerTakesTheDeviceOfItsRankOnItsNode) {
  for (const char* asked : {"auto", "cuda"}) {
    const auto all = choices(asked, {2, 4});
    for (std::size_t rank = 0; rank < 4; ++rank) {
      EXPECT_EQ(all[rank].backend, "cuda");
      EXPECT_EQ(all[rank].device, static_cast<int>(rank % 2));
      EXPECT_EQ(all[rank].warning, "");
    }
  }
}

TEST(Devices, CpuIsCpuWhateverThereIs) {
  for (const DeviceChoice& choice : choices("cpu", {2, 2})) {
    EXPECT_EQ(choice.backend, "cpu");
    EXPECT_EQ(choice.warning, "");
  }
}

TEST(Devices, AutoIsCpuWithoutAWordWhereThereIsNoDeviceAtAll) {
  for (const DeviceChoice& choice : choices("auto", {0, 0})) {
    EXPECT_EQ(choice.backend, "cpu");
    EXPECT_EQ(choice.warning, "");
  }
}

TEST(Devices, AutoIsCpuOnAllNodesWithAWarningWhereOneIsShort) {
  for (const auto& devices : {std::array{2, 1}, std::array{1, 2}, std::array{2, 0}}) {
    const auto all = choices("auto", devices);
    for (const DeviceChoice& choice : all) {
      EXPECT_EQ(choice.backend, "cpu");
      EXPECT_EQ(choice.warning, all[0].warning);
      EXPECT_THAT(choice.warning, HasSubstr("although there are GPUs"));
    }
  }
}

TEST(Devices, CudaWithTooFewNamesNodeWorkersAndDevicesToEveryWorker) {
  const std::string error = refusal("cuda", {2, 1});
  EXPECT_THAT(error, HasSubstr("compute.backend = \"cuda\""));
  EXPECT_THAT(error, HasSubstr("has 2 workers and 1 CUDA device,"));
  EXPECT_THAT(error, HasSubstr("start at most 1 there"));
  EXPECT_THAT(error, HasSubstr("CUDA_VISIBLE_DEVICES"));
}

TEST(Devices, CudaWithoutADeviceSaysTheDriversWords) {
  EXPECT_THAT(refusal("cuda", {2, 0}), HasSubstr("(the driver is not there)"));
}

// With CUDA_VISIBLE_DEVICES set differently for the workers of a node, the fewest count.
TEST(Devices, TheWorkerOfANodeThatSeesFewestDecides) {
  run_workers(2, [](Communicator& world) {
    EXPECT_THROW(static_cast<void>(choose_device(world, "cuda", report_of(world.rank() + 1))), ConfigError);
  });
}

TEST(Devices, TheBackendIsMadeAsChosen) {
  BackendOptions made;
  ComputeSection compute;
  compute.backend = "cpu";
  compute.tf32 = true;
  compute.plugins = "/plugins";
  run_workers(1, [&](Communicator& world) {
    const WorkerBackend worker = make_worker_backend(world, compute, 3, [&](const BackendOptions& options) {
      made = options;
      return make_backend({.name = "cpu", .threads = 1});
    });
    EXPECT_EQ(worker.backend->name(), "cpu");
  });
  EXPECT_EQ(made.name, "cpu");
  EXPECT_EQ(made.threads, 3);
  EXPECT_TRUE(made.tf32);
  EXPECT_EQ(made.plugins, "/plugins");
}

}  // namespace
}  // namespace ballast
