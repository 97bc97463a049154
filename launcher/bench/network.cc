// Implements bench_network: latency and rate between nodes, one worker of each.
//
// The rate is that of the best pattern of three, in pieces of 256 KiB as training sends them. "ring": everyone sends to
// its successor. "rotation": everyone sends to all others in turn, as a reduce-scatter by direct exchange does.
// "swap": neighbours in pairs exchange, the highest alone where the number is odd.
#include <algorithm>
#include <chrono>
#include <deque>
#include <thread>

#include "launcher/bench/bench.h"
#include "launcher/bench/figures.h"
#include "launcher/table.h"
#include "runtime/timing.h"

namespace ballast {
namespace {

constexpr int kTag = 1;
constexpr std::size_t kPiece = 256 << 10;
constexpr std::size_t kInFlight = 4;
constexpr int kPings = 200;
constexpr int kRepetitions = 5;
constexpr auto kNap = std::chrono::microseconds(100);

struct Pattern {
  const char* name;
  std::vector<int> to, from;  ///< partner of each piece in turn, by rounds
};

std::vector<Pattern> patterns_of(int rank, int nodes) {
  std::vector<int> to, from;
  for (int i = 1; i < nodes; ++i) {
    to.push_back((rank + i) % nodes);
    from.push_back((rank + nodes - i) % nodes);
  }
  const int partner = rank ^ 1;
  const std::vector<int> pair = partner < nodes ? std::vector{partner} : std::vector<int>{};
  return {{"ring", {to.front()}, {from.front()}}, {"rotation", to, from}, {"swap", pair, pair}};
}

/// Both directions of the worker's link, `pieces` each.
class Exchange {
 public:
  Exchange(Communicator& nodes, std::size_t pieces)
      : nodes_(nodes), pieces_(pieces), out_(kPiece), in_(kPiece * kInFlight) {}

  void run(const Pattern& pattern) {
    if (pattern.to.empty()) return;
    std::deque<std::unique_ptr<Request>> sends, receives;
    for (std::size_t sent = 0, received = 0;
         sent < pieces_ || received < pieces_ || !sends.empty() || !receives.empty();) {
      while (receives.size() < kInFlight && received < pieces_) {
        const std::span<std::byte> place = std::span(in_).subspan(received % kInFlight * kPiece, kPiece);
        receives.push_back(nodes_.receive(place, pattern.from[received++ % pattern.from.size()], kTag));
      }
      while (sends.size() < kInFlight && sent < pieces_) {
        sends.push_back(nodes_.send(out_, pattern.to[sent++ % pattern.to.size()], kTag));
      }
      const std::size_t under_way = sends.size() + receives.size();
      drop_finished(sends);
      drop_finished(receives);
      if (sends.size() + receives.size() == under_way) std::this_thread::sleep_for(kNap);
    }
  }

 private:
  static void drop_finished(std::deque<std::unique_ptr<Request>>& requests) {
    while (!requests.empty() && requests.front()->test()) requests.pop_front();
  }

  Communicator& nodes_;
  std::size_t pieces_;
  std::vector<std::byte> out_, in_;
};

double largest(Communicator& world, double mine) {
  const std::vector<double> all = gather_numbers(world, mine);
  return *std::max_element(all.begin(), all.end());
}

double seconds_of(Communicator& nodes, const std::function<void()>& work) {
  nodes.barrier();
  const Clock clock;
  work();
  nodes.barrier();
  return largest(nodes, clock.seconds());
}

/// One way, between the first two nodes.
double latency(Communicator& nodes) {
  std::vector<double> seconds;
  std::byte byte{};
  for (int i = 0; i < kPings && nodes.rank() < 2; ++i) {
    const Clock clock;
    const int partner = 1 - nodes.rank();
    for (const bool sends : {nodes.rank() == 0, nodes.rank() != 0}) {
      const auto request = sends ? nodes.send({&byte, 1}, partner, kTag) : nodes.receive({&byte, 1}, partner, kTag);
      while (!request->test()) {  // a wait would sleep
      }
    }
    seconds.push_back(clock.seconds() / 2);
  }
  return largest(nodes, seconds.empty() ? 0.0 : spread_of(seconds).median);
}

struct Measured {
  const char* pattern;
  Spread rate;  ///< bytes a second in each direction of a node's link
};

/// So many pieces that a repetition lasts about `seconds`.
std::size_t pieces_for(double seconds, const Pattern& pattern, Communicator& nodes) {
  constexpr std::size_t kProbe = 16;
  Exchange probe(nodes, kProbe);
  const double once = seconds_of(nodes, [&] { probe.run(pattern); });
  const double pieces = static_cast<double>(kProbe) * seconds / once;
  return static_cast<std::size_t>(std::clamp(pieces, static_cast<double>(kProbe), 1e6));
}

std::vector<Measured> measure(Communicator& nodes, double seconds) {
  const std::vector<Pattern> patterns = patterns_of(nodes.rank(), nodes.size());
  const double each = seconds / static_cast<double>(patterns.size() * (kRepetitions + 1));
  std::vector<Measured> measured;
  for (const Pattern& pattern : patterns) {
    const std::size_t pieces = pieces_for(each, pattern, nodes);
    Exchange exchange(nodes, pieces);
    std::vector<double> rates;
    rates.reserve(kRepetitions);
    for (int i = 0; i < kRepetitions; ++i) {
      rates.push_back(static_cast<double>(pieces * kPiece) / seconds_of(nodes, [&] { exchange.run(pattern); }));
    }
    measured.push_back({pattern.name, spread_of(rates)});
  }
  return measured;
}

/// One worker of every node: null for the others.
std::unique_ptr<Communicator> first_of_each_node(Communicator& world) {
  const bool first = world.split_by_node()->rank() == 0;
  auto group = world.split(first ? 0 : 1);
  return first ? std::move(group) : nullptr;
}

BenchText text_of(const BenchSite& site, int nodes, double seconds, const std::vector<Measured>& rows) {
  nlohmann::ordered_json json = site_json("network", site);
  json["nodes"] = nodes;
  json["latency_seconds"] = seconds;
  json["rows"] = nlohmann::ordered_json::array();
  Table table("lrrr");
  table.add({"pattern", "Gbit/s each way", "lowest..highest", "MB/s"});
  double best = 0.0;
  for (const Measured& row : rows) {
    const auto gigabits = [](double rate) { return fixed_number(rate * 8e-9, 3); };
    table.add({row.pattern, gigabits(row.rate.median), gigabits(row.rate.low) + ".." + gigabits(row.rate.high),
               fixed_number(row.rate.median * 1e-6, 1)});
    json["rows"].push_back({{"pattern", row.pattern},
                            {"bytes_per_second", row.rate.median},
                            {"low", row.rate.low},
                            {"high", row.rate.high}});
    best = std::max(best, row.rate.median);
  }
  json["bytes_per_second"] = best;
  const std::string head =
      std::to_string(nodes) + " nodes, latency " + fixed_number(seconds * 1e6, 1) + " us, one worker of each node\n\n";
  return {head + table.text(), json.dump() + '\n'};
}

}  // namespace

ExitCode bench_network(const BenchCommand& command, Process& process) {
  return run_on_workers(command, process, [&](BenchSite& site) {
    const auto nodes = first_of_each_node(site.world);
    if (largest(site.world, nodes ? nodes->size() : 0) < 2) {
      throw Error("bench network: all workers are on one node; start it on two or more", ExitCode::kUsage);
    }
    BenchText text;
    if (nodes) {
      const double seconds = latency(*nodes);
      const std::vector<Measured> rows = measure(*nodes, command.seconds);
      text = text_of(site, nodes->size(), seconds, rows);
    }
    site.world.barrier();
    return text;
  });
}

}  // namespace ballast
