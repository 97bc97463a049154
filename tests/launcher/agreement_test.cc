#include "launcher/agreement.h"

#include <gtest/gtest.h>

#include <atomic>

#include "compute/error.h"
#include "launcher/config.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

TEST(Agreement, EveryWorkerGetsTheConfigurationOfRank0) {
  run_workers(3, [](Communicator& world) {
    const AgreedConfig agreed = agree_on_config(world, [&] {
      EXPECT_EQ(world.rank(), 0) << "nobody else may read files or variables";
      JobConfig config;
      config.optimizer.lr = 0.25;
      return config;
    });
    EXPECT_EQ(agreed.config.optimizer.lr, 0.25);
    EXPECT_EQ(agreed.text, print_config(agreed.config));
  });
}

TEST(Agreement, AMistakeIsThrownOnEveryWorker) {
  std::atomic<int> thrown = 0;
  run_workers(3, [&](Communicator& world) {
    try {
      (void)agree_on_config(world, []() -> JobConfig { throw ConfigError("job.toml:1:1: wrong"); });
    } catch (const ConfigError& error) {
      EXPECT_STREQ(error.what(), "job.toml:1:1: wrong");
      ++thrown;
    }
  });
  EXPECT_EQ(thrown, 3);
}

}  // namespace
}  // namespace ballast
