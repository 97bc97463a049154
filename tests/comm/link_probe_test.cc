#include "comm/link_probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

#include "compute/error.h"
#include "tests/support/thread_workers.h"

namespace ballast {
namespace {

using Clock = std::chrono::steady_clock;

/// A link that lets messages in one at a time, each for max(alpha, bytes / beta) seconds.
struct Link {
  double alpha = 0.0, beta = 0.0;
  Clock::time_point free;

  Clock::time_point let_in(std::size_t bytes) {
    const std::chrono::duration<double> time(std::max(alpha, static_cast<double>(bytes) / beta));
    free = std::max(free, Clock::now()) + std::chrono::duration_cast<Clock::duration>(time);
    return free;
  }
};

class PacedReceive final : public Request {
 public:
  PacedReceive(std::unique_ptr<Request> inner, Link& link, std::size_t bytes)
      : inner_(std::move(inner)), link_(link), bytes_(bytes) {}
  void wait() override {
    while (!test()) {
    }
  }
  bool test() override {
    if (!here_ && !inner_->test()) return false;
    if (!here_) due_ = link_.let_in(bytes_);
    here_ = true;
    return Clock::now() >= due_;
  }

 private:
  std::unique_ptr<Request> inner_;
  Link& link_;
  std::size_t bytes_;
  bool here_ = false;
  Clock::time_point due_;
};

/// Messages pass a link, all else is the inner one's.
class PacedCommunicator final : public Communicator {
 public:
  PacedCommunicator(Communicator& inner, Link& link) : inner_(inner), link_(link) {}
  PacedCommunicator(std::unique_ptr<Communicator> owned, Link& link)
      : owned_(std::move(owned)), inner_(*owned_), link_(link) {}

  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  [[nodiscard]] bool concurrent() const override { return inner_.concurrent(); }
  void barrier() override { inner_.barrier(); }
  void broadcast(std::span<std::byte> bytes, int root) override { inner_.broadcast(bytes, root); }
  void all_reduce(std::span<std::int64_t> values, Reduction reduction) override {
    inner_.all_reduce(values, reduction);
  }
  void all_reduce_disjoint(std::span<double> values) override { inner_.all_reduce_disjoint(values); }
  [[nodiscard]] std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override {
    return inner_.all_gather(mine);
  }
  [[nodiscard]] std::unique_ptr<Request> send(std::span<const std::byte> bytes, int to, int tag) override {
    return inner_.send(bytes, to, tag);
  }
  [[nodiscard]] std::unique_ptr<Request> receive(std::span<std::byte> bytes, int from, int tag) override {
    return std::make_unique<PacedReceive>(inner_.receive(bytes, from, tag), link_, bytes.size());
  }
  [[nodiscard]] std::unique_ptr<Communicator> split(int colour) override {
    return std::make_unique<PacedCommunicator>(inner_.split(colour), link_);
  }
  [[nodiscard]] std::unique_ptr<Communicator> split_by_node() override {
    return std::make_unique<PacedCommunicator>(inner_.split_by_node(), link_);
  }
  [[nodiscard]] std::unique_ptr<SharedSegments> share(std::int64_t bytes, Filling filling) override {
    return inner_.share(bytes, filling);
  }

 private:
  std::unique_ptr<Communicator> owned_;
  Communicator& inner_;
  Link& link_;
};

std::vector<LinkCost> costs_of(int nodes, double alpha, double beta) {
  std::vector<LinkCost> costs(static_cast<std::size_t>(nodes));
  run_workers(nodes, 1, [&](Communicator& world) {
    Link link{.alpha = alpha, .beta = beta, .free = {}};
    PacedCommunicator paced(world, link);
    costs[static_cast<std::size_t>(world.rank())] = LinkProbe(paced).measure();
  });
  return costs;
}

TEST(LinkProbe, AllNodesFindTheSame) {
  for (const int nodes : {2, 3, 5}) {
    const std::vector<LinkCost> costs = costs_of(nodes, 0.0, 1e12);
    for (const LinkCost& cost : costs) {
      EXPECT_EQ(cost.latency, costs.front().latency);
      EXPECT_EQ(cost.piece_seconds, costs.front().piece_seconds);
      EXPECT_EQ(cost.bytes_per_second, costs.front().bytes_per_second);
    }
    EXPECT_GT(costs.front().latency, 0.0);
    EXPECT_GT(costs.front().piece_seconds, 0.0);
    EXPECT_GT(costs.front().bytes_per_second, 0.0);
  }
}

// A machine that does other things as well makes links slower, never faster.
TEST(LinkProbe, FindsWhatALinkLetsPass) {
  constexpr double kAlpha = 4e-4, kBeta = 2e7;
  const LinkCost cost = costs_of(2, kAlpha, kBeta).front();
  EXPECT_GE(cost.latency, 0.99 * kAlpha / 2);
  EXPECT_GE(cost.piece_seconds, 0.99 * kAlpha);
  EXPECT_LE(cost.piece_seconds, 3 * kAlpha);
  EXPECT_LE(cost.bytes_per_second, 1.1 * kBeta);
  EXPECT_GE(cost.bytes_per_second, 0.5 * kBeta);
}

TEST(LinkProbe, ASlowLinkIsNotMeasuredForLong) {
  const Clock::time_point start = Clock::now();
  const double beta = 2.5e6;  // 20 Mbit/s
  EXPECT_LE(costs_of(2, 0.0, beta).front().bytes_per_second, 1.1 * beta);
  EXPECT_LT(std::chrono::duration<double>(Clock::now() - start).count(), 3.0) << "it sends some 3 MiB: 1.3 s";
}

// Out to one and in from another at once; the third of three has no partner to swap with.
TEST(LinkProbe, ExchangesByAnyPattern) {
  run_workers(3, 1, [](Communicator& world) {
    LinkProbe probe(world);
    ExchangePattern all{.name = "all"};
    for (int distance = 1; distance < 3; ++distance) {
      const ExchangePattern next = ring(world.rank(), 3, distance);
      all.to.push_back(next.to.front());
      all.from.push_back(next.from.front());
    }
    const int partner = world.rank() ^ 1;
    const std::vector<int> pair = partner < 3 ? std::vector{partner} : std::vector<int>{};
    for (const ExchangePattern& pattern : {ring(world.rank(), 3, 1), all, {"swap", pair, pair}}) {
      for (const std::int64_t bytes : {std::int64_t{1}, LinkProbe::kPieceBytes}) {
        const LinkProbe::Seconds seconds = probe.exchange(pattern, bytes, 50);
        EXPECT_GT(seconds.steady, 0.0) << pattern.name;
        EXPECT_GE(seconds.all, seconds.steady) << pattern.name;
      }
    }
    EXPECT_THROW((void)probe.exchange(all, LinkProbe::kPieceBytes + 1, 1), Error);
  });
}

TEST(LinkProbe, EndsWithTheErrorOfANodeThatFails) {
  const auto fails_behind = [](int exchanges) {
    return [exchanges](Communicator& world) {
      LinkProbe probe(world);
      for (int i = 0; i < exchanges; ++i) (void)probe.exchange(ring(world.rank(), 3, 1), 100, 3);
      if (world.rank() == 2) throw ConfigError("lr is negative");
      (void)probe.measure();
    };
  };
  for (const int exchanges : {0, 1, 2}) EXPECT_THROW(run_workers(3, 1, fails_behind(exchanges)), ConfigError);
}

TEST(LinkProbe, TakesOneWorkerOfEveryNode) {
  std::atomic<int> members = 0;
  run_workers(5, 2, [&](Communicator& world) {
    const auto group = first_of_each_node(world);
    EXPECT_EQ(group != nullptr, world.rank() % 2 == 0);
    if (!group) return;
    EXPECT_EQ(group->size(), 3);
    EXPECT_EQ(group->rank(), world.rank() / 2);
    ++members;
  });
  EXPECT_EQ(members, 3);
}

}  // namespace
}  // namespace ballast
