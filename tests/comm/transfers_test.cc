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

TEST(Transfers, LetUrgentOnesOvertakeWhatNobodyReceivesYet) {
  run_workers(2, [](Communicator& world) {
    const std::vector<std::byte> bulk = message(sizes().back(), 0), urgent = message(3, 1);
    std::vector<std::byte> bulk_here(bulk.size()), urgent_here(3);
    Transfers transfers(world);
    if (world.rank() == 0) {
      for (int i = 0; i < 3; ++i) transfers.send(bulk, 1, kTag);
      transfers.send_urgent(urgent, 1, kTag + 1);
      return;
    }
    std::atomic<int> arrived = 0;
    transfers.receive(urgent_here, 0, kTag + 1, [&] { ++arrived; });
    transfers.wait_until([&] { return arrived == 1; });
    EXPECT_EQ(urgent_here, urgent);
    for (int i = 0; i < 3; ++i) transfers.receive(bulk_here, 0, kTag, [&] { ++arrived; });
    transfers.wait_until([&] { return arrived == 4; });
    EXPECT_EQ(bulk_here, bulk);
  });
}

TEST(Transfers, ReceiveOneTagWhileNothingComesWithAnother) {
  run_workers(2, [](Communicator& world) {
    const std::vector<std::byte> bytes = message(10, 0);
    std::vector<std::byte> first(10), second(10);
    const auto group = world.split(0);
    Transfers transfers(*group);
    if (world.rank() == 0) {
      transfers.send(bytes, 1, kTag + 1);
      world.barrier();
      transfers.send(bytes, 1, kTag);
      return;
    }
    std::atomic<int> arrived = 0;
    transfers.receive(first, 0, kTag, [&] { ++arrived; });
    transfers.receive(second, 0, kTag + 1, [&] { ++arrived; });
    transfers.wait_until([&] { return arrived == 1; });
    EXPECT_EQ(second, bytes);
    world.barrier();
    transfers.wait_until([&] { return arrived == 2; });
    EXPECT_EQ(first, bytes);
  });
}

/// Everybody asks everybody for some numbers, and answers while it waits for its own.
TEST(Transfers, AnswerWhatTheyHearFromAnyone) {
  struct Note {
    int from = 0, number = 0;
  };
  constexpr int kEnd = -1;
  constexpr int kAsked = 20;
  run_workers(3, [&](Communicator& world) {
    std::vector<int> numbers(kAsked), here(3 * kAsked);
    for (int i = 0; i < kAsked; ++i) numbers[static_cast<std::size_t>(i)] = 100 * world.rank() + i;
    std::vector<Note> asked;
    for (int i = 0; i < kAsked; ++i) asked.push_back({world.rank(), i});
    asked.push_back({world.rank(), kEnd});
    Note heard;
    std::atomic<int> arrived = 0;
    std::atomic<bool> ended = false;
    const auto group = world.split(0);
    Transfers transfers(*group);
    const auto bytes_of = [](const auto& value) { return std::as_bytes(std::span(&value, 1)); };
    transfers.listen(std::as_writable_bytes(std::span(&heard, 1)), kTag, [&] {
      ended = heard.number == kEnd;
      if (!ended)
        transfers.send_urgent(bytes_of(numbers[static_cast<std::size_t>(heard.number)]), heard.from, kTag + 1);
      return !ended;
    });
    for (int i = 0; i < kAsked; ++i) {
      for (int other = 0; other < 3; ++other) {
        auto& place = here[static_cast<std::size_t>(other * kAsked + i)];
        transfers.receive(std::as_writable_bytes(std::span(&place, 1)), other, kTag + 1, [&] { ++arrived; });
        transfers.send(bytes_of(asked[static_cast<std::size_t>(i)]), other, kTag);
      }
    }
    transfers.wait_until([&] { return arrived == 3 * kAsked; });
    for (int i = 0; i < 3 * kAsked; ++i) EXPECT_EQ(here[static_cast<std::size_t>(i)], i / kAsked * 100 + i % kAsked);
    transfers.wait_for_sends();
    world.barrier();
    transfers.send(bytes_of(asked.back()), world.rank(), kTag);
    transfers.wait_until([&] { return ended.load(); });
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
