#include <gtest/gtest.h>
#include <mpi.h>
#include <sys/mman.h>

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
  for (const Filling filling : {Filling::kWhole, Filling::kSparse}) {
    std::string cause;
    const auto segments = share_by_descriptor(*node, node->rank() == 0 ? 50000 : 10000 + node->rank(), filling, cause);
    EXPECT_EQ(cause, "");
    EXPECT_TRUE(segments != nullptr);
    if (segments != nullptr) expect_shared_segments(*node, *segments, 50000);
  }
}

TEST(SharedSegments, ByWindowAreEachRanksOwnZeroedMemory) {
  const auto node = mpi_world().split_by_node();
  MPI_Comm group = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &group);
  for (const Filling filling : {Filling::kWhole, Filling::kSparse}) {
    const std::int64_t bytes = node->rank() == 0 ? 50000 : 10000 + node->rank();
    const auto segments = share_by_window(*node, group, bytes, filling, "not tried");
    expect_shared_segments(*node, *segments, 50000);
  }
  MPI_Comm_free(&group);
}

/// Pages of [start, start + bytes) that are in memory.
std::int64_t resident_pages(std::span<std::byte> part) {
  std::vector<unsigned char> pages((part.size() + 4095) / 4096);
  EXPECT_EQ(mincore(part.data(), part.size(), pages.data()), 0);
  return std::ranges::count_if(pages, [](unsigned char page) { return (page & 1U) != 0; });
}

/// The last rank gives back all but the first and the last page of what rank 0 has filled.
void expect_pages_come_and_go(Communicator& node, SharedSegments& segments, std::int64_t pages) {
  const std::span<std::byte> all = segments.of(0);
  if (node.rank() == 0) {
    EXPECT_LE(resident_pages(all), 1);  // the one that the workers met in
    std::ranges::fill(all, std::byte{7});
    EXPECT_EQ(resident_pages(all), pages);
  }
  node.barrier();
  if (node.rank() == node.size() - 1) segments.discard(all.subspan(1, all.size() - 2));
  node.barrier();
  EXPECT_TRUE(all.front() == std::byte{7} && all.back() == std::byte{7});
  EXPECT_TRUE(node.rank() != 0 || resident_pages(all) == 2);
  node.barrier();
  EXPECT_EQ(all[5000], std::byte{0});
  node.barrier();
}

TEST(SharedSegments, GiveBackPagesOfAnyonesMemory) {
  constexpr std::int64_t kPages = 1024;
  const auto node = mpi_world().split_by_node();
  const std::int64_t bytes = node->rank() == 0 ? kPages * 4096 : 0;
  expect_pages_come_and_go(*node, *node->share(bytes, Filling::kSparse), kPages);
  std::string cause;
  if (const auto segments = share_by_descriptor(*node, bytes, Filling::kSparse, cause)) {
    expect_pages_come_and_go(*node, *segments, kPages);
  }
}

TEST(SharedSegments, ThatAreSparseMayBeLargerThanTheMachine) {
  const auto node = mpi_world().split_by_node();
  constexpr std::int64_t kBytes = std::int64_t{1} << 42;
  const auto segments = node->share(node->rank() == 0 ? kBytes : 0, Filling::kSparse);
  if (node->rank() == node->size() - 1) segments->of(0)[kBytes - 1] = std::byte{3};
  node->barrier();
  EXPECT_EQ(segments->of(0)[kBytes - 1], std::byte{3});
  node->barrier();
}

TEST(SharedSegments, ThatCannotBeSharedAreRefusedByEveryoneForOneReason) {
  // Ranks are no neighbours' rank here: the last one offers memory that nobody can make.
  const auto node = mpi_world().split_by_node();
  const bool last = node->rank() == node->size() - 1;
  std::string cause;
  const auto segments = share_by_descriptor(*node, last ? std::int64_t{1} << 62 : 4096, Filling::kWhole, cause);
  EXPECT_TRUE(segments == nullptr);
  EXPECT_NE(cause.find("cannot"), std::string::npos) << cause;
  const auto causes = all_gather_strings(*node, cause);
  EXPECT_EQ(causes.front(), causes.back());
}

}  // namespace
}  // namespace ballast
