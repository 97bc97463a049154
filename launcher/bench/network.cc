// Implements bench_network: latency, rate and the cost of a message between nodes, one worker of each.
//
// The rate is that of the best pattern of three, in pieces of 256 KiB as training sends them. "ring": everyone sends to
// its successor. "rotation": everyone sends to all others in turn, as a reduce-scatter by direct exchange does.
// "swap": neighbours in pairs exchange, the highest alone where the number is odd. The cost is what training measures
// where comm.bucket_mib is "auto".
#include <algorithm>

#include "comm/link_probe.h"
#include "launcher/bench/bench.h"
#include "launcher/bench/figures.h"
#include "launcher/table.h"
#include "runtime/timing.h"

namespace ballast {
namespace {

constexpr int kRepetitions = 5;

std::vector<ExchangePattern> patterns_of(int rank, int nodes) {
  ExchangePattern rotation{.name = "rotation"};
  for (int distance = 1; distance < nodes; ++distance) {
    const ExchangePattern next = ring(rank, nodes, distance);
    rotation.to.push_back(next.to.front());
    rotation.from.push_back(next.from.front());
  }
  const int partner = rank ^ 1;
  const std::vector<int> pair = partner < nodes ? std::vector{partner} : std::vector<int>{};
  return {ring(rank, nodes, 1), rotation, {"swap", pair, pair}};
}

struct Measured {
  const char* pattern;
  Spread rate;  ///< bytes a second in each direction of a node's link
};

/// So many pieces that a repetition lasts about `seconds`.
std::int64_t pieces_for(double seconds, const ExchangePattern& pattern, LinkProbe& probe) {
  constexpr std::int64_t kLeast = 16;
  const double once = probe.exchange(pattern, LinkProbe::kPieceBytes, kLeast).all;
  return static_cast<std::int64_t>(std::clamp(kLeast * seconds / once, static_cast<double>(kLeast), 1e6));
}

std::vector<Measured> measure(LinkProbe& probe, const std::vector<ExchangePattern>& patterns, double seconds) {
  const double each = seconds / static_cast<double>(patterns.size() * (kRepetitions + 1));
  std::vector<Measured> measured;
  for (const ExchangePattern& pattern : patterns) {
    const std::int64_t pieces = pieces_for(each, pattern, probe);
    std::vector<double> rates;
    rates.reserve(kRepetitions);
    for (int i = 0; i < kRepetitions; ++i) {
      const double took = probe.exchange(pattern, LinkProbe::kPieceBytes, pieces).steady;
      rates.push_back(static_cast<double>(pieces * LinkProbe::kPieceBytes) / took);
    }
    measured.push_back({pattern.name, spread_of(rates)});
  }
  return measured;
}

BenchText text_of(const BenchSite& site, int nodes, const LinkCost& link, const std::vector<Measured>& rows) {
  nlohmann::ordered_json json = site_json("network", site);
  json["nodes"] = nodes;
  json["latency_seconds"] = link.latency;
  json["piece_seconds"] = link.piece_seconds;
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
  const std::string head = std::to_string(nodes) + " nodes, latency " + fixed_number(link.latency * 1e6, 1) + " us, " +
                           fixed_number(link.piece_seconds * 1e6, 1) +
                           " us for each message besides its bytes, one worker of each node\n\n";
  return {head + table.text(), json.dump() + '\n'};
}

}  // namespace

ExitCode bench_network(const BenchCommand& command, Process& process) {
  return run_on_workers(command, process, [&](BenchSite& site) {
    const auto nodes = first_of_each_node(site.world);
    const std::vector<double> sizes = gather_numbers(site.world, nodes ? nodes->size() : 0);
    if (*std::max_element(sizes.begin(), sizes.end()) < 2) {
      throw Error("bench network: all workers are on one node; start it on two or more", ExitCode::kUsage);
    }
    BenchText text;
    if (nodes) {
      LinkProbe probe(*nodes);
      const LinkCost link = probe.measure();
      text = text_of(site, nodes->size(), link,
                     measure(probe, patterns_of(nodes->rank(), nodes->size()), command.seconds));
    }
    site.world.barrier();
    return text;
  });
}

}  // namespace ballast
