#include "tests/support/thread_workers.h"

#include <gtest/gtest.h>

#include "compute/error.h"
#include "tests/comm/communicator_contract.h"

namespace ballast {
namespace {

TEST(ThreadWorkers, KeepTheContractOfACommunicator) {
  for (int workers = 1; workers <= 5; ++workers) {
    run_workers(workers, [](Communicator& world) { expect_communicator_contract(world); });
  }
}

TEST(ThreadWorkers, StandOnSimulatedNodes) {
  run_workers(5, 2, [](Communicator& world) {
    const auto node = world.split_by_node();
    EXPECT_EQ(node->size(), world.rank() == 4 ? 1 : 2);
    EXPECT_EQ(node->rank(), world.rank() % 2);
  });
}

TEST(ThreadWorkers, EndWithTheFirstErrorAndDoNotHang) {
  const auto wait_for_rank_1 = [](Communicator& world) {
    if (world.rank() == 1) throw ConfigError("lr is negative");
    world.barrier();
  };
  EXPECT_THROW(run_workers(3, wait_for_rank_1), ConfigError);
  const auto receive_from_rank_1 = [](Communicator& world) {
    std::byte byte{};
    if (world.rank() == 1) throw ConfigError("lr is negative");
    const auto request = world.receive({&byte, 1}, 1, 0);
    request->wait();
  };
  EXPECT_THROW(run_workers(2, receive_from_rank_1), ConfigError);
}

}  // namespace
}  // namespace ballast
