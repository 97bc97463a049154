#include "comm/link_probe.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <thread>

#include "comm/split/transfers.h"
#include "compute/error.h"

namespace ballast {
namespace {

static_assert(LinkProbe::kPieceBytes == Transfers::kPieceBytes);

constexpr int kTag = 1;
constexpr std::int64_t kBytesUnderWay = 16 * LinkProbe::kPieceBytes;
constexpr int kMostPings = 200, kLeastPings = 3;
constexpr double kSecondsOfPings = 0.03;
constexpr std::int64_t kLeastBytes = 64, kGrowth = 8;  ///< sizes of messages
constexpr double kLeastCount = 4, kMostCount = 256;
constexpr std::int64_t kMostLead = 512;
constexpr double kSecondsOfRepetition = 0.015;
constexpr double kSecondsToRepeat = 0.5;  ///< of a measurement; behind them each size is tried once
constexpr std::size_t kRepetitions = 3;
constexpr double kShortest = 1e-8;  ///< a message cannot take no time, whatever the noise says

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median_of(std::vector<double> numbers) {
  const auto middle = numbers.begin() + std::ssize(numbers) / 2;
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

/// Of the slowest worker.
double longest(Communicator& group, double seconds) {
  auto nanoseconds = static_cast<std::int64_t>(seconds * 1e9);
  group.all_reduce(std::span(&nanoseconds, 1), Reduction::kMax);
  return static_cast<double>(nanoseconds) * 1e-9;
}

// A request's own wait would sleep after a while.
void spin(const std::unique_ptr<Request>& request) {
  while (!request->test()) std::this_thread::yield();
}

/// One way, as the first of two workers sees it. A ping's byte says whether another one follows.
double ping(Communicator& nodes) {
  std::vector<double> ways;
  const Clock::time_point start = Clock::now();
  for (std::byte more{1}; more != std::byte{0};) {
    const int before = static_cast<int>(ways.size());
    const bool enough = before + 1 >= kLeastPings && seconds_since(start) > kSecondsOfPings;
    if (enough || before + 1 == kMostPings) more = std::byte{0};
    const Clock::time_point sent = Clock::now();
    spin(nodes.send({&more, 1}, 1, kTag));
    spin(nodes.receive({&more, 1}, 1, kTag));  // the same byte
    ways.push_back(seconds_since(sent) / 2);
  }
  return median_of(std::move(ways));
}

void answer_pings(Communicator& nodes) {
  for (std::byte more{1}; more != std::byte{0};) {
    spin(nodes.receive({&more, 1}, 0, kTag));
    spin(nodes.send({&more, 1}, 0, kTag));
  }
}

}  // namespace

/// Sends and receives on a group of their own: Transfers may use it from another thread.
class LinkProbe::Messages {
 public:
  explicit Messages(Communicator& nodes)
      : group_(nodes.split(0)),
        out_(static_cast<std::size_t>(kPieceBytes)),
        in_(static_cast<std::size_t>(kBytesUnderWay)),
        transfers_(*group_) {}

  Seconds move(const ExchangePattern& pattern, std::size_t size, std::int64_t lead, std::int64_t count) {
    if (pattern.to.empty()) return {};
    const Clock::time_point start = Clock::now();
    lead_ = lead;
    arrived_ = 0;
    under_way_.assign(std::min(static_cast<std::size_t>(lead + count), in_.size() / size), {});
    for (std::size_t i = 0; i < static_cast<std::size_t>(lead + count); ++i) {
      const std::size_t place = i % under_way_.size();
      UnderWay& mine = under_way_[place];
      transfers_.wait_until([&mine] { return mine.ended(); });
      mine = {.left = false, .arrived = false};
      transfers_.receive(std::span(in_).subspan(place * size, size), pattern.from[i % pattern.from.size()], kTag,
                         [this, &mine] { arrived(mine); });
      transfers_.send(std::span(out_).first(size), pattern.to[i % pattern.to.size()], kTag,
                      [&mine] { mine.left = true; });
    }
    transfers_.wait_until([this] {
      return std::all_of(under_way_.begin(), under_way_.end(), [](const UnderWay& each) { return each.ended(); });
    });
    return {.all = seconds_since(start), .steady = std::chrono::duration<double>(latest_ - steady_).count()};
  }

 private:
  /// One out and one in. Transfers calls back under the lock under which it asks for a wait's condition.
  struct UnderWay {
    bool left = true, arrived = true;
    [[nodiscard]] bool ended() const { return left && arrived; }
  };

  void arrived(UnderWay& message) {
    message.arrived = true;
    latest_ = Clock::now();
    if (++arrived_ == lead_) steady_ = latest_;
  }

  std::unique_ptr<Communicator> group_;
  std::vector<std::byte> out_, in_;
  std::vector<UnderWay> under_way_;
  std::int64_t lead_ = 0, arrived_ = 0;
  Clock::time_point steady_, latest_;  ///< when the lead, and the latest message, were here
  Transfers transfers_;                ///< last: it ends before the memory of its messages
};

ExchangePattern ring(int rank, int nodes, int distance) {
  return {"ring", {(rank + distance) % nodes}, {(rank + nodes - distance) % nodes}};
}

LinkProbe::LinkProbe(Communicator& nodes) : nodes_(nodes) {
  require(nodes.size() > 1, "LinkProbe: one node has no link");
  messages_ = std::make_unique<Messages>(nodes);
}

LinkProbe::~LinkProbe() = default;

double LinkProbe::latency() {
  nodes_.barrier();
  double way = 0.0;
  if (nodes_.rank() < 2) {
    const MessageWait wait(nodes_);  // whoever watches for hangs must see that these wait for each other
    if (nodes_.rank() == 0) way = ping(nodes_);
    if (nodes_.rank() == 1) answer_pings(nodes_);
  }
  return longest(nodes_, way);
}

LinkProbe::Seconds LinkProbe::exchange(const ExchangePattern& pattern, std::int64_t bytes, std::int64_t count) {
  require(0 < bytes && bytes <= kPieceBytes, "LinkProbe: a message has 1 to 256 KiB bytes");
  nodes_.barrier();
  const std::int64_t lead = std::min((kPieceBytes + bytes - 1) / bytes, kMostLead);
  const Seconds mine = messages_->move(pattern, static_cast<std::size_t>(bytes), lead, count);
  return {.all = longest(nodes_, mine.all), .steady = longest(nodes_, mine.steady)};
}

/// Partners are others each time. With several at once, messages under way would share the link and arrive in bunches,
/// and so few of them would say little.
LinkProbe::Seconds LinkProbe::exchange_with_next(std::int64_t bytes, std::int64_t count) {
  const int distance = 1 + exchanges_++ % (nodes_.size() - 1);
  const Seconds seconds = exchange(ring(nodes_.rank(), nodes_.size(), distance), bytes, count);
  spent_ += seconds.all;
  return seconds;
}

/// Seconds from one message to the next. `expected`: as good a guess as there is.
double LinkProbe::time_messages(std::int64_t bytes, double expected) {
  const double count = std::floor(std::clamp(kSecondsOfRepetition / expected, kLeastCount, kMostCount));
  std::vector<double> each;
  while (each.empty() || (each.size() < kRepetitions && spent_ < kSecondsToRepeat)) {
    each.push_back(exchange_with_next(bytes, static_cast<std::int64_t>(count)).steady / count);
  }
  return median_of(std::move(each));
}

// The first exchange finds no connection, and TCP does not know yet how much it may send at once: it gives a guess.
LinkCost LinkProbe::measure() {
  spent_ = 0.0;
  double each = std::max(kShortest, exchange_with_next(kPieceBytes, 1).steady);
  const double way = latency();
  std::vector<MessageTime> times;
  for (std::int64_t bytes = kPieceBytes; bytes >= kLeastBytes; bytes /= kGrowth) {
    each = std::max(kShortest, time_messages(bytes, each));
    times.push_back({bytes, each});
    each /= static_cast<double>(kGrowth);
  }
  LinkCost cost = fit_link_cost(times);
  cost.latency = way;
  return cost;
}

std::unique_ptr<Communicator> first_of_each_node(Communicator& world) {
  const bool first = world.split_by_node()->rank() == 0;
  auto group = world.split(first ? 0 : 1);
  return first ? std::move(group) : nullptr;
}

}  // namespace ballast
