#include "comm/split/transfers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "compute/error.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

constexpr int kTag = 7;

std::vector<std::byte> message(std::size_t size, int number) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 31 + static_cast<std::size_t>(number)) % 251);
  }
  return bytes;
}

/// Shorter than a piece, exactly one, one byte more, several.
const std::vector<std::size_t>& sizes() {
  constexpr auto kPiece = static_cast<std::size_t>(Transfers::kPieceBytes);
  static const std::vector<std::size_t> all{1, kPiece, kPiece + 1, 5 * kPiece - 3};
  return all;
}

TEST(Transfers, CarryMessagesOfAnySizeBetweenAllAndInOrder) {
  run_workers(3, [](Communicator& world) {
    std::vector<std::vector<std::byte>> sent, received;
    std::vector<std::size_t> order;
    std::atomic<std::size_t> arrived = 0;
    Transfers transfers(world);
    for (const std::size_t size : sizes()) {
      sent.push_back(message(size, world.rank()));
      received.emplace_back(size);
    }
    const int next = (world.rank() + 1) % 3;
    const int previous = (world.rank() + 2) % 3;
    for (std::size_t i = 0; i < sent.size(); ++i) {
      transfers.send(sent[i], next, kTag);
      transfers.receive(received[i], previous, kTag, [&, i] {
        order.push_back(i);
        ++arrived;
      });
    }
    transfers.wait_until([&] { return arrived == sent.size(); });
    transfers.wait_for_sends();
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    for (std::size_t i = 0; i < received.size(); ++i) EXPECT_EQ(received[i], message(sizes()[i], previous));
  });
}

TEST(Transfers, LeaveBeforeTheyEnd) {
  run_workers(2, [](Communicator& world) {
    std::vector<std::byte> bytes = message(sizes().back(), 0);
    std::vector<std::byte> here(bytes.size());
    Transfers transfers(world);
    if (world.rank() == 0) {
      transfers.send(bytes, 1, kTag);  // and nobody waits
    } else {
      std::atomic<bool> arrived = false;
      transfers.receive(here, 0, kTag, [&] { arrived = true; });
      transfers.wait_until([&] { return arrived.load(); });
      EXPECT_EQ(here, bytes);
    }
  });
}

TEST(Transfers, EndWithTheErrorOfTheWorkerThatIsWaitedFor) {
  const auto wait_for_rank_1 = [](Communicator& world) {
    if (world.rank() == 1) throw ConfigError("lr is negative");
    std::vector<std::byte> bytes(8);
    Transfers transfers(world);
    transfers.receive(bytes, 1, kTag, [] {});
    transfers.wait_until([] { return false; });
  };
  EXPECT_THROW(run_workers(2, wait_for_rank_1), ConfigError);
}

}  // namespace
}  // namespace ballast
