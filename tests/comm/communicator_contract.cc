#include "tests/comm/communicator_contract.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace ballast {
namespace {

void expect_broadcast(Communicator& world) {
  for (int root = 0; root < world.size(); ++root) {
    std::vector<std::byte> bytes(1000, std::byte(world.rank()));
    world.broadcast(bytes, root);
    EXPECT_EQ(bytes, std::vector<std::byte>(1000, std::byte(root)));
    const std::string text = "from rank " + std::to_string(world.rank());
    EXPECT_EQ(broadcast_string(world, text, root), "from rank " + std::to_string(root));
    EXPECT_EQ(broadcast_string(world, world.rank() == root ? "" : text, root), "");
  }
}

void expect_all_reduce(Communicator& world) {
  const std::int64_t n = world.size();
  const std::int64_t large = std::int64_t{1} << 61;  // a sum in double would lose its low bits
  std::vector<std::int64_t> sums{world.rank() + 1, world.rank() == 0 ? large + 1 : 0};
  world.all_reduce(sums, Reduction::kSum);
  EXPECT_EQ(sums, (std::vector<std::int64_t>{n * (n + 1) / 2, large + 1}));
  std::vector<std::int64_t> least{world.rank() - 5};
  world.all_reduce(least, Reduction::kMin);
  EXPECT_EQ(least.front(), -5);
  std::vector<std::int64_t> most{world.rank() - 5};
  world.all_reduce(most, Reduction::kMax);
  EXPECT_EQ(most.front(), n - 6);
  world.all_reduce({}, Reduction::kSum);

  std::vector<double> disjoint(static_cast<std::size_t>(n));
  disjoint[static_cast<std::size_t>(world.rank())] = 0.1 * (world.rank() + 1);
  world.all_reduce_disjoint(disjoint);
  for (int r = 0; r < world.size(); ++r) EXPECT_EQ(disjoint[static_cast<std::size_t>(r)], 0.1 * (r + 1));
}

void expect_all_gather(Communicator& world) {
  const auto texts = all_gather_strings(world, std::string(static_cast<std::size_t>(3 * world.rank()), 'a'));
  EXPECT_EQ(static_cast<int>(texts.size()), world.size());
  for (int r = 0; r < world.size(); ++r) {
    EXPECT_EQ(texts[static_cast<std::size_t>(r)], std::string(static_cast<std::size_t>(3 * r), 'a'));
  }
}

/// Everybody sends two messages of one tag and one of another to everybody, itself included.
void expect_messages(Communicator& world) {
  const auto n = static_cast<std::size_t>(world.size());
  const auto message = [&](int from, int to, int number) {
    return std::vector<int>(500, (from * 100 + to) * 10 + number);
  };
  std::vector<std::vector<int>> in(3 * n, std::vector<int>(500));
  std::vector<std::vector<int>> out;
  out.reserve(3 * n);
  std::vector<std::unique_ptr<Request>> requests;
  for (int other = 0; other < world.size(); ++other) {
    for (int number = 0; number < 3; ++number) {
      auto& place = in[3 * static_cast<std::size_t>(other) + static_cast<std::size_t>(number)];
      requests.push_back(world.receive(std::as_writable_bytes(std::span(place)), other, number / 2));
    }
  }
  for (int other = 0; other < world.size(); ++other) {
    for (int number = 0; number < 3; ++number) {
      const auto& sent = out.emplace_back(message(world.rank(), other, number));
      requests.push_back(world.send(std::as_bytes(std::span(sent)), other, number / 2));
    }
  }
  for (const auto& request : requests) {
    request->wait();
    EXPECT_TRUE(request->test());
  }
  for (int other = 0; other < world.size(); ++other) {
    for (int number = 0; number < 3; ++number) {
      EXPECT_EQ(in[3 * static_cast<std::size_t>(other) + static_cast<std::size_t>(number)],
                message(other, world.rank(), number));
    }
  }
}

/// Everybody sends its number to everybody; who receives does not know from whom the next one comes.
void expect_messages_from_anyone(Communicator& world) {
  constexpr int kTag = 5;
  std::vector<std::int64_t> out(1, world.rank()), seen;
  std::vector<std::unique_ptr<Request>> sends;
  for (int to = 0; to < world.size(); ++to) sends.push_back(world.send(std::as_bytes(std::span(out)), to, kTag));
  for (int i = 0; i < world.size(); ++i) {
    std::int64_t& place = seen.emplace_back(-1);
    world.receive(std::as_writable_bytes(std::span(&place, 1)), Communicator::kAnyone, kTag)->wait();
  }
  for (const auto& send : sends) send->wait();
  std::ranges::sort(seen);
  std::vector<std::int64_t> all(seen.size());
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(seen, all);
  world.barrier();
}

void expect_split(Communicator& world) {
  const auto parity = world.split(world.rank() % 2);
  EXPECT_EQ(parity->rank(), world.rank() / 2);
  EXPECT_EQ(parity->size(), (world.size() + 1 - world.rank() % 2) / 2);
  std::vector<std::int64_t> members{1};
  parity->all_reduce(members, Reduction::kSum);
  EXPECT_EQ(members.front(), parity->size());
}

}  // namespace

void expect_shared_segments(Communicator& node, const SharedSegments& segments, std::int64_t bytes_of_rank_0) {
  for (int r = 0; r < node.size(); ++r) {
    const std::span<std::byte> segment = segments.of(r);
    EXPECT_EQ(static_cast<std::int64_t>(segment.size()), r == 0 ? bytes_of_rank_0 : 10000 + r);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(segment.data()) % 4096, 0U);
    EXPECT_TRUE(std::all_of(segment.begin(), segment.end(), [](std::byte b) { return b == std::byte{0}; }));
  }
  node.barrier();
  std::ranges::fill(segments.of(node.rank()), std::byte(node.rank() + 1));
  node.barrier();
  for (int r = 0; r < node.size(); ++r) {
    EXPECT_TRUE(std::ranges::all_of(segments.of(r), [r](std::byte b) { return b == std::byte(r + 1); }))
        << "segment of " << r;
  }
  node.barrier();
}

void expect_communicator_contract(Communicator& world) {
  expect_broadcast(world);
  expect_all_reduce(world);
  expect_all_gather(world);
  expect_messages(world);
  expect_messages_from_anyone(world);
  expect_split(world);
  const auto node = world.split_by_node();
  for (const std::int64_t bytes_of_rank_0 : {0, 1, 4096, 100000}) {
    const auto segments = node->share(node->rank() == 0 ? bytes_of_rank_0 : 10000 + node->rank());
    expect_shared_segments(*node, *segments, bytes_of_rank_0);
  }
}

}  // namespace ballast
