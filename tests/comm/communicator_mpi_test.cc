#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <cstring>

#include "comm/communicator.h"
#include "comm/mpi/shared_segments.h"
#include "comm/watched_communicator.h"
#include "compute/error.h"
#include "tests/comm/communicator_contract.h"
#include "tests/support/mpi_world.h"

namespace ballast {
namespace {

TEST(MpiCommunicator, KeepsTheContractOfACommunicator) { expect_communicator_contract(mpi_world()); }

TEST(MpiCommunicator, PartsKeepTheContractToo) {
  const auto part = mpi_world().split(mpi_world().rank() == 0 ? 0 : 1);
  expect_communicator_contract(*part);
}

TEST(MpiCommunicator, KeepsTheContractWhenItIsWatched) {
  for (const bool agree : {true, false}) {
    FlightRecorder recorder({.rank = mpi_world().rank(), .workers = mpi_world().size()});
    WatchedCommunicator world(mpi_world(), recorder, agree);
    expect_communicator_contract(world);
    expect_communicator_contract(*world.split_by_node());
  }
}

TEST(MpiCommunicator, MovesMessagesOfSeveralPieces) {
  Communicator& world = mpi_world();
  const std::size_t size = (std::size_t{1} << 28) + 12345;
  if (world.rank() == world.size() - 1) {
    std::vector<std::byte> out(size);
    for (std::size_t i = 0; i < size; i += 4096) out[i] = std::byte(i / 4096 * 31 + 7);
    out[size - 1] = std::byte{99};
    const auto send = world.send(out, 0, 5);
    if (world.rank() == 0) {
      std::vector<std::byte> in(size);
      world.receive(in, 0, 5)->wait();
      EXPECT_TRUE(in == out);
    }
    send->wait();
  } else if (world.rank() == 0) {
    std::vector<std::byte> in(size);
    world.receive(in, world.size() - 1, 5)->wait();
    int wrong = 0;
    for (std::size_t i = 0; i < size; i += 4096) wrong += in[i] == std::byte(i / 4096 * 31 + 7) ? 0 : 1;
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(in[size - 1], std::byte{99});
  }
  world.barrier();
}

TEST(MpiCommunicator, SendsNothingWithoutAMessage) {
  Communicator& world = mpi_world();
  const auto send = world.send({}, 0, 1);
  const auto receive = world.receive({}, 0, 1);
  send->wait();
  EXPECT_TRUE(receive->test());
}

TEST(MpiCommunicator, ReportsMpisOwnWordsForAMistake) {
  Communicator& world = mpi_world();
  std::byte byte{};
  try {
    static_cast<void>(world.send({&byte, 1}, world.size() + 5, 0));
    ADD_FAILURE() << "a message to a rank that does not exist was accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("rank"), std::string::npos) << error.what();
  }
}

TEST(SharedSegments, ByDescriptorAreEachRanksOwnZeroedMemory) {
  const auto node = mpi_world().split_by_node();
  std::string cause;
  const auto segments = share_by_descriptor(*node, node->rank() == 0 ? 50000 : 10000 + node->rank(), cause);
  EXPECT_EQ(cause, "");
  EXPECT_TRUE(segments != nullptr);
  if (segments != nullptr) expect_shared_segments(*node, *segments, 50000);
}

TEST(SharedSegments, ByWindowAreEachRanksOwnZeroedMemory) {
  const auto node = mpi_world().split_by_node();
  MPI_Comm group = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &group);
  {
    const auto segments = share_by_window(*node, group, node->rank() == 0 ? 50000 : 10000 + node->rank(), "not tried");
    expect_shared_segments(*node, *segments, 50000);
  }
  MPI_Comm_free(&group);
}

TEST(SharedSegments, ThatCannotBeSharedAreRefusedByEveryoneForOneReason) {
  // Ranks are no neighbours' rank here: the last one offers memory that nobody can make.
  const auto node = mpi_world().split_by_node();
  const bool last = node->rank() == node->size() - 1;
  std::string cause;
  const auto segments = share_by_descriptor(*node, last ? std::int64_t{1} << 62 : 4096, cause);
  EXPECT_TRUE(segments == nullptr);
  EXPECT_NE(cause.find("cannot"), std::string::npos) << cause;
  const auto causes = all_gather_strings(*node, cause);
  EXPECT_EQ(causes.front(), causes.back());
}

}  // namespace
}  // namespace ballast
